"""Models as commands name them: a file, a folder, or one that MLflow keeps; and written for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from augsearch.policies import UserError
from augsearch.search.settings.sections import TrackingSettings
from augsearch.trainers.models.names import MODEL_SUFFIX

FILE = f"model{MODEL_SUFFIX}"


def find_model(model: str, tracking_uri: str | None = None) -> Path:
    """The ``.safetensors`` file of ``model``, its card beside it.

    Args:
        model: such a file, a folder with ``model.safetensors``, or ``runs:/RUN_ID/model`` or ``models:/…``
            in MLflow, which is downloaded.
        tracking_uri: where MLflow is; None: where runs log to by default.

    Raises:
        UserError: there is no such model.
    """
    if model.startswith(("runs:", "models:")):
        from augsearch.search.tracking.models import fetch_model

        return fetch_model(model, tracking_uri or TrackingSettings().uri)
    path = Path(model)
    if path.is_dir():
        path /= FILE
        if not path.is_file():
            raise UserError(f"{model}: no {FILE} in this folder; give a folder where a training wrote one")
    if path.suffix != MODEL_SUFFIX:
        raise UserError(
            f"{model}: must be a {MODEL_SUFFIX} file, a folder with {FILE}, or runs:/RUN_ID/model in MLflow"
        )
    return path


def write_model(model: str, output: Path, kind: str | None, tracking_uri: str | None) -> str:
    """Write ``model`` as ``output`` in the format ``kind``; returns a line that says what it takes.

    Raises:
        UserError: there is no such model, or it can't be written so.
    """
    from augsearch.trainers.models.exporting import export_model
    from augsearch.trainers.models.saved import load_model

    path = find_model(model, tracking_uri)
    if output.resolve() == path.resolve():
        raise UserError(f"{output}: is the model itself; give another file to write")
    network, spec = load_model(path)
    difference = export_model(network, spec, output, kind)
    colour = {1: "grey", 3: "RGB"}.get(spec.channels, f"{spec.channels}-band")
    return (
        f"{output}: network {spec.name} for {colour} images of {spec.image_size} × {spec.image_size} pixels; "
        f"its outputs differ from the model's by at most {difference:.1g}"
    )

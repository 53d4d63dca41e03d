"""Trained models in MLflow: saved among a run's artifacts, and fetched by their address."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.bands import COLOURS
from augsearch.policies.pictures import image_of
from augsearch.search.settings.addresses import redacted, sqlite_file
from augsearch.search.tracking.database import absolute, load_mlflow, reason_of
from augsearch.search.tracking.moved import follow_move

if TYPE_CHECKING:
    from mlflow.models import Model


MODEL = "model"
"""The name of a run's final model: MLflow finds it as ``runs:/RUN_ID/model``."""


def save_model_folder(path: Path, example: NDArray[np.uint8], folder: Path, described: Model) -> None:
    """Write ``folder`` as MLflow loads and serves it: image files in, labels and probabilities out."""
    # Of a class of its own, at import. For good: to undo it in a thread could undo another's filter.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array
    from pandas import DataFrame

    inputs = Schema([ColSpec(DataType.binary, "image")])
    outputs = Schema(
        [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "confidence"),
            ColSpec(Array(DataType.double), "probabilities"),
        ]
    )
    save_model(
        str(folder),
        mlflow_model=described,
        loader_module="augsearch.search.serving",
        data_path=str(path),
        signature=ModelSignature(inputs, outputs),
        input_example=DataFrame({"image": [as_file(example)]}),
        # MLflow would find them out by loading the model in a process of its own.
        pip_requirements=[f"augsearch=={version('augsearch')}"],
    )
    shutil.copy(path.with_suffix(".json"), folder / "data")


def as_file(pixels: NDArray[np.uint8]) -> bytes:
    """An image (H, W, C) as a file that a served model takes: a PNG, or an array where it is one of bands."""
    written = io.BytesIO()
    if pixels.shape[-1] in COLOURS:
        image_of(pixels).save(written, "PNG")
    else:
        np.save(written, pixels)
    return written.getvalue()


ALIAS, CONTENT_TAG = "augsearch", "augsearch.content"
"""The usual alias of a registered model; the tag of a version that holds the hash of its file."""


def register_model(client: Any, run_id: str, register: str, content: str) -> None:
    """Have the model of a run be the version of a registered model that its alias names.

    Args:
        client: MLflow's.
        run_id: the run, which has the model already.
        register: ``NAME``, or ``NAME@ALIAS``.
        content: a hash of the model's file: a version that has it already is not made again.
    """
    from mlflow.exceptions import MlflowException

    name, _, alias = register.partition("@")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name.replace(chr(39), '')}'")
    made = next((one for one in versions if one.tags.get(CONTENT_TAG) == content), None)
    if made is None:
        source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
        made = client.create_model_version(name, source, run_id, tags={CONTENT_TAG: content})
    client.set_registered_model_alias(name, alias or ALIAS, made.version)


def fetch_model(uri: str, tracking_uri: str) -> Path:
    """Download a model that augsearch logged; its ``.safetensors`` file, the card beside it.

    They lie in a folder that is removed when this process ends.

    Args:
        uri: ``runs:/RUN_ID/model``, ``models:/NAME/VERSION``, ``models:/MODEL_ID``.
        tracking_uri: where MLflow is.

    Raises:
        UserError: there is no such model, or MLflow can't be reached.
    """
    where = absolute(tracking_uri)
    database = sqlite_file(where)
    if database is not None and not database.exists():
        raise UserError(
            f"{uri}: nothing was logged to {redacted(tracking_uri)} yet; give another --tracking-uri"
        )
    if database is not None:
        follow_move(database)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    load_mlflow()
    from mlflow.artifacts import download_artifacts

    folder = tempfile.mkdtemp(prefix="augsearch-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with few_retries():
            download_artifacts(artifact_uri=_located(uri, where), dst_path=folder, tracking_uri=where)
    except Exception as error:  # of MLflow, of its database, of the store of its artifacts
        hint = f"a run's final model is runs:/RUN_ID/{MODEL}"
        where = redacted(tracking_uri)
        raise UserError(f"{uri}: not to be had from {where} ({reason_of(error)}); {hint}") from None
    for path in sorted(Path(folder).rglob("*.safetensors")):
        if path.with_suffix(".json").is_file():
            return path
    raise UserError(f"{uri}: no model of augsearch; a run's final model is runs:/RUN_ID/{MODEL}")


@contextmanager
def few_retries() -> Iterator[None]:
    """Give a server that is not there up at once: a person waits, and MLflow would try for four minutes."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    given = os.environ.get(name)
    os.environ[name] = given or "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]


def _located(uri: str, tracking_uri: str) -> str:
    """``uri``, or where the artifacts of a ``models:/…`` are: MLflow itself looks at its global URI alone."""
    from mlflow import MlflowClient
    from mlflow.store.artifact.utils import models

    parse: Any = models.get_model_name_and_version  # without types
    client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
    while uri.startswith("models:"):
        name, *number = parse(client, uri)
        if number:
            uri = client.get_model_version_download_uri(name, *number)
        else:  # not a name, but the ID of a model that was never registered
            uri = client.get_logged_model(name).artifact_location
    return uri

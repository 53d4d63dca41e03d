"""``augsearch train``: the final training alone, from a policy file."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from augsearch.policies import read_policy, write_policy
from augsearch.search.console import Display
from augsearch.search.final.plan import (
    as_then,
    check_weights,
    final_pixels,
    overridden,
    with_crops,
    with_metric,
    with_transfer,
)
from augsearch.search.final.train import train_and_test
from augsearch.search.inputs.prepare import make_folder, open_data, with_picked_network
from augsearch.search.inputs.run_data import tracked_data
from augsearch.search.settings.settings import Settings
from augsearch.search.tracking.runs import Tracker


def _beside(policy_file: Path) -> Path:
    """The folder of a policy file; one inside it where that is a study's, whose own model lies there."""
    folder = policy_file.parent
    return folder / "trained" if (folder / "settings.toml").exists() else folder


def train_from_file(
    settings: Settings, policy_file: Path, flags: dict[str, Any], display: Display
) -> dict[str, Any]:
    """``augsearch train``: the final training alone, in an MLflow run of its own; returns path and figures.

    What was trained from, flags included, stands as ``model.policy.json`` beside the model.

    Raises:
        UserError: a file or the data is bad.
    """
    file = overridden(read_policy(policy_file), settings, flags)
    settings = with_picked_network(settings, display)
    check_weights(settings, file)
    settings = as_then(with_metric(settings, file), file)
    # The search's sample of unlabeled images is not wanted here: the final training takes all.
    data = open_data(settings.changed(semi="none"), display, searched=False)
    output = settings.tracking.output or _beside(policy_file)
    make_folder(output)
    effective = output / "model.policy.json"
    trained = with_crops(with_transfer(file, settings), settings, final_pixels(settings, data))
    write_policy(trained, effective)
    by = f"augsearch train, policy {policy_file}"
    run = output / ".model.run"
    key = run.read_text(encoding="utf-8") if run.exists() else uuid.uuid4().hex
    run.write_text(key, encoding="utf-8")
    name, about = f"train {policy_file.name}", tracked_data(data, settings.data.source)
    tracker = Tracker(settings.tracking.uri, data.experiment, name, key, by, about)
    with tracker.closing(display.line):
        tracker.parent(params=settings.flat())
        tracker.artifact(effective)
        final = train_and_test(data, settings, effective, output, display, tracker, by)
        run.unlink()  # a training that was stopped goes on in the run that it began
    return final

"""Where MLflow's UI shows a study: the addresses of its run, and of its trials, best first.

The view is one that MLflow itself keeps when a person shares one: a tag of the experiment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augsearch.policies import UserError
from augsearch.search.settings.addresses import redacted
from augsearch.search.tracking.database import absolute, load_mlflow
from augsearch.search.tracking.names import KEY_TAG, STUDY_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

COLUMNS = (
    *("attributes.`Dataset`", "metrics.`score`", "metrics.`accuracy`", "metrics.`folds`"),
    *("params.`policy.num_ops`", "params.`policy.magnitude`", "params.`policy.mixing.kind`"),
    *("tags.`state`", "tags.`reason`"),
)
"""Of the table of trials."""


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses within the UI, behind its own."""

    study: str
    run: str
    """The page of the study's run: verdict, figures, policy, preview, report."""
    trials: str
    """The table of its trials."""


def places_of(uri: str, study: str | None) -> Places | None:
    """Where ``study`` is shown, or the last one that was logged; None: there is none.

    Raises:
        UserError: no study of that name was logged.
    """
    load_mlflow()
    from mlflow import MlflowClient

    client = MlflowClient(absolute(uri))
    experiments = [one.experiment_id for one in client.search_experiments()]
    condition = f"tags.`{KEY_TAG}` != ''"
    if study is not None:
        condition += " and tags.`{}` = '{}'".format(STUDY_TAG, study.replace("'", ""))
    newest = ["attributes.start_time DESC"]
    found = client.search_runs(experiments, condition, order_by=newest, max_results=1)
    if not found:
        if study is not None:
            raise UserError(f"no study {study!r} was logged to {redacted(uri)}; leave it out for the last")
        return None
    return _places(client, found[0])


def _places(client: Any, run: Run) -> Places:
    experiment, number = run.info.experiment_id, run.info.run_id
    view = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{number}'",
        "orderByKey": "metrics.`score`",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
    }
    key = f"augsearch-{number[:12]}"
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(view))
    place = f"/#/experiments/{experiment}/runs"
    return Places(
        run.data.tags[STUDY_TAG],
        f"{place}/{number}?workflowType=machine_learning",
        f"{place}?workflowType=machine_learning&viewStateShareKey={key}",
    )

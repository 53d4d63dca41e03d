"""MLflow: the only place that imports it.

What is logged is a projection of the study: a child run is written whole when its trial ends, keyed by the
trial's number, so whatever is missing after a kill can be written again. Everything goes through one
thread, because importing MLflow and making its database take ten seconds, in which folds can be trained;
and because a server may be away for a while.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from augsearch.policies import UserError
from augsearch.search.engines.failures import disk_is_full, machine_failed
from augsearch.search.settings.addresses import redacted, sqlite_file
from augsearch.search.settings.sections import HOME
from augsearch.search.space.describe import describe
from augsearch.search.studies.chosen import chosen
from augsearch.search.studies.study import Entry
from augsearch.search.tracking.database import absolute, is_away, load_mlflow, make_database, reason_of
from augsearch.search.tracking.inputs import TrackedData
from augsearch.search.tracking.models import MODEL, few_retries, register_model, save_model_folder
from augsearch.search.tracking.moved import follow_move
from augsearch.search.tracking.names import CHILD_TAG, KEY_TAG, STUDY_TAG, TRIAL_TAG
from augsearch.search.tracking.outbox import Outbox
from augsearch.trainers.system.hashing import content_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


SOURCE = {"mlflow.source.name": "augsearch", "mlflow.source.type": "LOCAL"}
NOT_HEEDED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
"""MLflow's variables that say where its own functions log: a study has an experiment and runs of its own."""
_FIGURES = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss", "ece")
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "FINISHED", TrialState.FAIL: "FAILED"}


class Tracker:
    """One study's parent run and its children. Methods return at once; leaving it waits for all of them."""

    complete = False
    """Whether it was left with everything logged."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        study: str,
        key: str,
        description: str,
        data: TrackedData | None = None,
    ) -> None:
        """``key`` tells the study from others of the same name; ``data``: what its runs learn from."""
        self._data = data
        self._uri, self._experiment, self._study = absolute(uri), experiment, study
        self._key, self._description = key, description
        self._while_open = ExitStack()
        self._while_open.enter_context(few_retries())
        self._outbox = Outbox(is_away)
        self._client: MlflowClient
        self._experiment_id = self._parent = ""
        self._children: dict[int, str] = {}
        self._unreachable = False
        self._connected: Future[None] = Future()
        self._outbox.add(self._connect_or_give_up)

    def _connect_or_give_up(self) -> None:
        try:
            self._connect()
        except Exception as error:  # at the beginning a person is there, and told
            self._outbox.give_up(error)
            self._connected.set_exception(error)
        else:
            self._connected.set_result(None)

    def _connect(self) -> None:
        # MLflow's own exports would put runs elsewhere, or take one that is not ours as the parent.
        for variable in NOT_HEEDED:
            os.environ.pop(variable, None)
        load_mlflow()
        from mlflow import MlflowClient

        database = sqlite_file(self._uri)
        if database is not None:
            make_database(database)
            follow_move(database)
        self._client = MlflowClient(self._uri)
        self._experiment_id = self._find_experiment()
        self._parent = self._find_parent()
        self._children = {
            int(run.data.tags[TRIAL_TAG]): run.info.run_id
            for run in self._search(f"tags.`mlflow.parentRunId` = '{self._parent}'")
            if TRIAL_TAG in run.data.tags and run.info.status != "RUNNING"
        }

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            local = sqlite_file(self._uri) is not None
            place = (HOME / "artifacts").resolve().as_uri() if local else None
            # The kind tells MLflow's UI to open its pages for model training, not those for language models.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return str(self._client.create_experiment(self._experiment, place, tags))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _find_parent(self) -> str:
        for run in self._search(f"tags.`{KEY_TAG}` = '{self._key}'"):
            self._client.update_run(run.info.run_id, status="RUNNING")
            if not (run.inputs and run.inputs.dataset_inputs):
                self._log_data(run.info.run_id)
            return str(run.info.run_id)
        tags = {
            STUDY_TAG: self._study,
            KEY_TAG: self._key,
            "mlflow.note.content": self._description,
            **SOURCE,
        }
        run = self._client.create_run(self._experiment_id, run_name=self._study, tags=tags)
        self._log_data(run.info.run_id)
        return str(run.info.run_id)

    def _log_data(self, run_id: str) -> None:
        if self._data is not None:
            self._client.log_inputs(run_id, [self._data.as_input("training")])

    def _search(self, condition: str) -> list[Any]:
        runs: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], condition, order_by=["attributes.start_time"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _later(self, work: Callable[..., None], *args: Any) -> None:
        self._outbox.add(partial(work, *args))

    def check(self) -> None:
        """Raise now if MLflow could not be reached.

        Raises:
            UserError: the tracking URI does not lead to MLflow.
        """
        if self._connected.done() and (error := self._connected.exception()) is not None:
            self._unreachable = True
            if disk_is_full(error):
                raise machine_failed(error)
            raise UserError(
                f"MLflow at {redacted(self._uri)}: {reason_of(error)}; give another --tracking-uri"
            ) from None

    def wait(self) -> None:
        """Wait until MLflow is known to be there.

        Raises:
            UserError: it is not.
        """
        wait([self._connected])
        self.check()

    def trials(self, entries: Iterable[Entry], reasons: Mapping[int, str]) -> None:
        """Log every ended trial that has no child run yet; ``reasons``: why some stopped or failed."""
        for entry in entries:
            if entry.state in _STATUS:
                self._later(self._trial, entry, reasons.get(entry.number, ""))

    def _trial(self, entry: Entry, reason: str) -> None:
        if entry.number in self._children or self._is_written(f"tags.`{TRIAL_TAG}` = '{entry.number}'"):
            return
        from mlflow.entities import Metric, Param, RunTag

        # Folds of an equal trial were paid for there.
        own = entry.results if entry.same_as is None else ()
        seconds = sum(result.seconds for result in own)
        end = int(time.time() * 1000)
        start = end - int(seconds * 1000)
        metrics = [
            Metric(f"fold_{name}", getattr(result, name), end, fold)
            for fold, result in enumerate(entry.results)
            for name in _FIGURES
            if not math.isnan(getattr(result, name))
        ]
        means = {
            name: sum(getattr(result, name) for result in entry.results) / len(entry.results)
            for name in _FIGURES
            if not math.isnan(getattr(entry.results[0], name))
        }
        means |= {"score": entry.score, "folds": len(entry.results), "seconds": seconds}
        means |= {"images": sum(result.images for result in own)}
        metrics += [Metric(name, float(value), end, 0) for name, value in means.items()]
        tags = {
            "mlflow.parentRunId": self._parent,
            TRIAL_TAG: str(entry.number),
            "state": entry.state.name.lower(),
            "mlflow.note.content": f"{describe(entry.candidate)}{f' ({reason})' if reason else ''}",
            **({"reason": reason} if reason else {}),
        }
        tags |= SOURCE | ({"baseline": entry.baseline} if entry.baseline else {})
        if entry.same_as is not None:
            tags |= {"same_as": f"trial {entry.same_as}"}
        run = self._client.create_run(self._experiment_id, start_time=start, run_name=entry.name, tags=tags)
        self._client.log_batch(
            run.info.run_id,
            metrics=metrics,
            params=[Param(name, str(value)) for name, value in chosen(entry).items()],
            tags=[RunTag("policy", entry.candidate.model_dump_json())],
        )
        self._log_data(run.info.run_id)
        self._client.set_terminated(run.info.run_id, status=_STATUS[entry.state], end_time=end)
        self._children[entry.number] = run.info.run_id

    def _is_written(self, condition: str) -> bool:
        """Whether the child run that ``condition`` tells is there; a half that was left of it is removed."""
        for known in self._search(f"tags.`mlflow.parentRunId` = '{self._parent}' and {condition}"):
            if known.info.status != "RUNNING":
                return True
            self._client.delete_run(known.info.run_id)
        return False

    def parent(
        self,
        metrics: dict[str, float] | None = None,
        params: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Log on the parent run; what is there already stays: parameters, and figures that are the same."""
        self._later(self._log_parent, _now(), metrics or {}, params or {}, tags or {})

    def _log_parent(
        self, at: int, metrics: dict[str, float], params: dict[str, Any], tags: dict[str, str]
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        known = self._client.get_run(self._parent).data
        self._client.log_batch(
            self._parent,
            metrics=[
                Metric(name, float(value), at, 0)
                for name, value in metrics.items()
                if known.metrics.get(name) != float(value)
            ],
            params=[Param(name, str(value)) for name, value in params.items() if name not in known.params],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """Log one epoch of the final training on the parent run."""
        self._later(self._log_epoch, _now(), step, metrics)

    def _log_epoch(self, at: int, step: int, metrics: dict[str, float]) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(
            self._parent, metrics=[Metric(name, value, at, step) for name, value in metrics.items()]
        )

    def child(
        self,
        name: str,
        key: str,
        metrics: dict[str, float],
        tags: dict[str, str] | None = None,
        params: dict[str, Any] | None = None,
    ) -> None:
        """Log a run below the parent that is no trial, such as a round of self-training; ``key`` tells it
        from others, and one that is there already stays as it is."""
        self._later(self._child, name, key, metrics, tags or {}, params or {})

    def _child(
        self, name: str, key: str, metrics: dict[str, float], tags: dict[str, str], params: dict[str, Any]
    ) -> None:
        from mlflow.entities import Metric, Param

        if self._is_written(f"tags.`{CHILD_TAG}` = '{key}'"):
            return
        end = int(time.time() * 1000)
        start = end - int(metrics.get("seconds", 0) * 1000)
        all_tags = {"mlflow.parentRunId": self._parent, CHILD_TAG: key, **SOURCE, **tags}
        run = self._client.create_run(self._experiment_id, start_time=start, run_name=name, tags=all_tags)
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(metric, float(value), end, 0) for metric, value in metrics.items()],
            params=[Param(param, str(value)) for param, value in params.items()],
        )
        self._client.set_terminated(run.info.run_id, status="FINISHED", end_time=end)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of the file at ``path`` with the parent run."""
        self._later(lambda: self._client.log_artifact(self._parent, str(path), folder))

    def model(self, path: Path, example: NDArray[np.uint8], register: str | None = None) -> None:
        """Keep the model at ``path``, and the card beside it, with the parent run, ready to be served.

        ``example``, (H, W, C), grey or RGB, is the input example that MLflow shows; ``register``: ``NAME`` or
        ``NAME@ALIAS`` in the model registry.
        """
        self._later(self._log_model, path, example)
        if register is not None:
            self._later(lambda: register_model(self._client, self._parent, register, content_of(str(path))))

    def _log_model(self, path: Path, example: NDArray[np.uint8]) -> None:
        from mlflow.models import Model

        # Among the run's artifacts: MLflow's own log_model, and finding what it logged, need a global URI.
        described = Model(artifact_path=MODEL, run_id=self._parent)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / MODEL
            save_model_folder(path, example, folder, described)
            self._client.log_artifacts(self._parent, str(folder), MODEL)
        # By this tag MLflow's UI knows a run's models, and offers to register them.
        self._client.set_tag(
            self._parent, "mlflow.log-model.history", json.dumps([described.get_tags_dict()])
        )

    @contextmanager
    def closing(self, say: Callable[[str], object]) -> Iterator[None]:
        """Wait for everything at the end, and end the parent run as what is inside ended.

        ``say`` is called with a line on what MLflow did not take.
        """
        status = "KILLED"
        try:
            yield
            status = "FINISHED"
        except UserError:
            status = "FAILED"
            raise
        finally:
            problem = self.close(status)
            if problem is not None:
                say(f"MLflow did not take everything ({problem}); the same command logs it again")
            self.complete = status == "FINISHED" and problem is None

    def close(self, status: str) -> str | None:
        """Wait for everything, end the parent run with ``status``; returns what went wrong, if anything."""
        self._later(lambda: self._client.set_terminated(self._parent, status=status))
        error = self._outbox.close()
        self._while_open.close()
        return None if error is None or self._unreachable else reason_of(error)


def _now() -> int:
    """Milliseconds: taken when something happens, so that a call which is made again logs nothing twice."""
    return int(time.time() * 1000)

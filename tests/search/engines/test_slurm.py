"""Slurm through submitit: jobs that die or are cancelled are lost, what they raise is theirs; files go."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import UserError
from augsearch.search.engines.engine import WorkerLostError
from augsearch.search.engines.registry import check_device, start_engine
from augsearch.search.engines.slurm import SlurmEngine
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.gpus import has_gpu

pytest.importorskip("submitit", reason="needs submitit: pip install 'augsearch[slurm]'")
LONG = 600


def test_lost_jobs_cost_their_task_alone_and_leave_their_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = start_engine(EngineSettings(name="slurm", workers=2, address="local"))
    try:
        went_well = engine.submit(abs, -5)
        lost = engine.submit(exec, f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
        assert went_well.result(LONG) == 5
        with pytest.raises(WorkerLostError, match=r"job \d+ of Slurm's was lost") as error:
            lost.result(LONG)
        log = Path(str(error.value).partition("see ")[2])
        assert log.exists()
        left = {path.name.split("_")[0] for path in (tmp_path / "mlruns" / "jobs").iterdir()}
        assert left == {log.name.split("_")[0]}
        unreadable = engine.submit(os.fdopen, open)  # can't be sent
        assert isinstance(unreadable.exception(LONG), Exception)
    finally:
        engine.close()


class _Job:
    """A job of a cluster, in the state that Slurm says."""

    def __init__(self, state: str) -> None:
        self.state = state

    def done(self) -> bool:
        return False

    def cancel(self, check: bool) -> None:
        """Nothing runs."""


class _Cluster:
    """Takes jobs as submitit does, and starts them when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[_Job] = []

    def submit(self, *_: object) -> _Job:
        self.jobs.append(_Job("PENDING"))
        return self.jobs[-1]


def test_jobs_of_which_none_has_started_are_said_to_wait() -> None:
    cluster = _Cluster()
    engine = SlurmEngine(cluster, slots=2)
    try:
        assert engine.waits_for() is None  # for nothing
        engine.submit(abs, -5)
        engine.submit(abs, -6)
        assert (said := engine.waits_for()) is not None
        assert "started none of 2 jobs" in said
        cluster.jobs[1].state = "RUNNING"
        assert engine.waits_for() is None
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device": "cuda:1"}, "device cuda:1: Slurm gives each fold a GPU"),
        ({"address": "node7"}, "address node7: of Slurm only local is one"),
        pytest.param(
            {},
            "run it on a node of the cluster",
            marks=pytest.mark.skipif(shutil.which("srun") is not None, reason="this is a node of a cluster"),
        ),
    ],
)
def test_what_slurm_cannot_do_is_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as error:
        start_engine(EngineSettings(name="slurm", **settings))
    assert "\n" not in str(error.value)


def test_a_gpu_that_the_final_training_lacks_here_is_missed_before_the_search() -> None:
    settings = EngineSettings(name="slurm", device="cuda")
    check_device(settings, trains_final=False)  # the jobs may have one
    if not has_gpu("auto"):
        said = r"^the final training runs on this machine, and device cuda: .*; --no-final"
        with pytest.raises(UserError, match=said):
            check_device(settings, trains_final=True)

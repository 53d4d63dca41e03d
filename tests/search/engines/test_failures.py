"""Why a task failed, where that is not plain from the kind of error."""

from __future__ import annotations

import pytest

from augsearch.policies import UserError
from augsearch.search.engines.failures import Kind, kind_of
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.runner import Runner

LOST = "CUDA error: unspecified launch failure"


def test_a_command_whose_own_process_lost_its_gpu_ends_and_blames_no_candidate() -> None:
    runner = Runner[str, None](InlineEngine())
    runner.submit("a candidate", lambda: InlineEngine().submit(exec, f"raise RuntimeError({LOST!r})"))
    with pytest.raises(UserError, match=f"^trainings can't be run here: {LOST}; mend that: nothing is lost"):
        runner.wait()


def test_memory_of_a_gpu_that_runs_out_is_the_candidates_doing() -> None:
    assert kind_of(RuntimeError("CUDA error: out of memory")) is Kind.CANDIDATE

"""Contracts that every engine keeps; a worker's death costs its task and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
import torch

from augsearch.policies import UserError
from augsearch.search.engines import local as local_engine
from augsearch.search.engines import worker as worker_module
from augsearch.search.engines.engine import Engine, EngineFailedError, OverLimitError, WorkerLostError
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.local import LocalEngine, default_workers
from augsearch.search.engines.registry import check_device, engine_names, start_engine
from augsearch.search.engines.worker import Limits
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system import devices

LONG = 600
"""Seconds; longer than any of these tasks takes on the busiest machine."""


def on_ray() -> Engine:
    pytest.importorskip("ray", reason="needs Ray: pip install 'augsearch[ray]'")
    return start_engine(EngineSettings(name="ray", workers=2))


def on_submitit() -> Engine:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'augsearch[slurm]'")
    return start_engine(EngineSettings(name="slurm", workers=2, address="local"))


ENGINES: dict[str, Callable[[], Engine]] = {
    "inline": InlineEngine,
    "local": lambda: LocalEngine(2, Limits(LONG)),
    "ray": on_ray,
    "slurm": on_submitit,
}


def test_every_engine_keeps_these_contracts() -> None:
    assert sorted(ENGINES) == engine_names()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("engine"))
        made = ENGINES[request.param]()
    yield made
    made.close()


def test_results_and_errors_come_back(engine: Engine) -> None:
    futures = [engine.submit(pow, number, 2) for number in range(6)]
    wait(futures, timeout=LONG)
    assert [future.result() for future in futures] == [0, 1, 4, 9, 16, 25]
    with pytest.raises(ZeroDivisionError):
        engine.submit(divmod, 1, 0).result(LONG)
    with pytest.raises(UserError, match="a bad thing"):
        engine.submit(exec, BAD_INPUT).result(LONG)


BAD_INPUT = "from augsearch.policies import UserError; raise UserError('a bad thing')"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalEngine]:
    engine = LocalEngine(2, Limits(LONG))
    engine.submit(abs, 1).result(LONG)
    yield engine
    engine.close()


def test_a_dying_worker_costs_only_its_task(local: LocalEngine) -> None:
    doomed = local.submit(os._exit, 3)
    others = [local.submit(abs, -number) for number in range(8)]
    with pytest.raises(WorkerLostError, match="a worker died"):
        doomed.result(LONG)
    assert [future.result(LONG) for future in others] == list(range(8))


def test_a_task_that_overruns_its_time_is_stopped_and_the_next_has_a_worker() -> None:
    engine = LocalEngine(1, Limits(1))
    try:
        with pytest.raises(OverLimitError, match="longer than 1 s"):
            engine.submit(time.sleep, LONG).result(LONG)
        assert patiently(engine, abs, -5) == 5
    finally:
        engine.close()


def patiently(engine: Engine, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the engine says as soon as the machine is not too busy for its time limit."""
    while True:
        try:
            return engine.submit(function, *arguments).result(LONG)
        except OverLimitError:
            continue


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system tells no process's memory")
def test_a_task_that_overruns_its_memory_is_stopped() -> None:
    engine = LocalEngine(1, Limits(LONG, 2**30))
    try:
        with pytest.raises(OverLimitError, match="more memory than 1 GiB"):
            engine.submit(exec, "import time; filled = bytearray(3 << 29); time.sleep(600)").result(LONG)
        assert engine.submit(abs, -5).result(LONG) == 5
    finally:
        engine.close()


def test_workers_killed_while_they_wait_cost_nothing(local: LocalEngine) -> None:
    for _ in range(3):
        os.kill(local.submit(os.getpid).result(LONG), signal.SIGKILL)
        assert [local.submit(pow, number, 2).result(LONG) for number in range(4)] == [0, 1, 4, 9]


def test_a_worker_that_can_never_start_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv2.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(tmp_path)
    engine = LocalEngine(1, Limits(LONG))
    try:
        with pytest.raises(
            EngineFailedError, match="no worker can be started: a worker died before its task"
        ):
            engine.submit(abs, 1).result(LONG)
        (tmp_path / "cv2.py").unlink()
        assert engine.submit(abs, -1).result(LONG) == 1
    finally:
        engine.close()


def test_a_worker_that_hangs_while_it_waits_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "ANSWER", 1.0)
    engine = LocalEngine(1, Limits(1))
    try:
        hung = patiently(engine, os.getpid)
        os.kill(hung, signal.SIGSTOP)
        assert patiently(engine, os.getpid) != hung
        assert not alive(hung)
    finally:
        engine.close()


HANGS = "import pathlib, time; pathlib.Path({begun!r}).touch(); time.sleep(600)"


def test_workers_that_hang_as_they_start_are_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv2.py").write_text(HANGS.format(begun=str(tmp_path / "begun")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(worker_module, "START", 1.0)
    engine = LocalEngine(1, Limits(LONG))
    try:
        with pytest.raises(EngineFailedError, match="a worker did not answer for 1 s"):
            engine.submit(abs, 1).result(LONG)
    finally:
        engine.close()


def test_closing_does_not_wait_for_a_worker_that_hangs_as_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "cv2.py").write_text(HANGS.format(begun=str(begun)))
    monkeypatch.syspath_prepend(tmp_path)
    engine = LocalEngine(1, Limits(LONG))
    engine.submit(abs, 1)
    while not begun.exists():
        time.sleep(0.05)
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(LONG)
    assert not closing.is_alive()


def test_a_result_that_cannot_travel_is_an_error_of_its_task(local: LocalEngine) -> None:
    with pytest.raises(TypeError, match="pickle"):
        local.submit(threading.Lock).result(LONG)
    assert local.submit(abs, -1).result(LONG) == 1


LOSES_ITS_GPU = """
import os, pathlib, torch
pathlib.Path({file!r}).write_text(str(os.getpid()))
raise torch.AcceleratorError("CUDA error: unspecified launch failure\\nCompile with TORCH_USE_CUDA_DSA")
"""


def test_a_worker_that_loses_its_gpu_ends_before_it_takes_the_next_task(
    local: LocalEngine, tmp_path: Path
) -> None:
    file = tmp_path / "worker"
    with pytest.raises(
        WorkerLostError, match=r"^a worker lost its GPU: CUDA error: unspecified launch failure$"
    ):
        local.submit(exec, LOSES_ITS_GPU.format(file=str(file))).result(LONG)
    assert not alive(int(file.read_text()))
    assert [local.submit(abs, -number).result(LONG) for number in range(4)] == [0, 1, 2, 3]


def test_memory_that_runs_out_costs_no_worker(local: LocalEngine) -> None:
    with pytest.raises(RuntimeError, match="CUDA error: out of memory"):
        local.submit(exec, "raise RuntimeError('CUDA error: out of memory')").result(LONG)


def test_a_killed_driver_leaves_no_worker() -> None:
    code = (
        "import os, time\n"
        "from augsearch.search.engines.local import LocalEngine\n"
        "from augsearch.search.engines.worker import Limits\n"
        "if __name__ == '__main__':\n"
        "    engine = LocalEngine(1, Limits(600))\n"
        "    print(engine.submit(os.getpid).result(600), flush=True)\n"
        "    engine.submit(time.sleep, 600).result(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.communicate()
    until = time.monotonic() + LONG
    while alive(worker):
        assert time.monotonic() < until
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether it runs: one that has ended may wait for someone to ask how."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_closing_ends_busy_workers() -> None:
    engine = LocalEngine(1, Limits(LONG))
    pid = engine.submit(os.getpid).result(LONG)
    engine.submit(time.sleep, LONG)
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_use_one_thread_each(local: LocalEngine) -> None:
    import torch

    assert [local.submit(torch.get_num_threads).result(LONG) for _ in range(2)] == [1, 1]


MEET = """
import os, pathlib, time
folder = pathlib.Path({folder!r})
(folder / os.environ["CUDA_VISIBLE_DEVICES"]).touch()
while len(list(folder.iterdir())) < 2:
    time.sleep(0.05)
"""
"""A task that ends when workers of two devices have come to it."""


def test_every_device_is_given_a_worker_which_sees_no_other(tmp_path: Path) -> None:
    engine = LocalEngine(2, Limits(LONG), devices=("2", "GPU-5a1b"))
    try:
        wait([engine.submit(exec, MEET.format(folder=str(tmp_path))) for _ in range(2)], timeout=LONG)
        assert sorted(file.name for file in tmp_path.iterdir()) == ["2", "GPU-5a1b"]
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("device", "devices", "each", "cores", "workers"),
    [
        ("auto", (), None, 6, 6),
        ("cpu", (), 3, 6, 3),
        ("auto", ("0", "1"), None, 32, 8),
        ("auto", ("0", "1", "2", "3"), None, 6, 4),
        ("auto", ("0", "1"), 7, 6, 14),
        ("cuda:1", (), None, 32, 4),
        ("cuda:1", (), 6, 2, 6),
    ],
)
def test_workers_by_devices_and_cores(
    device: str,
    devices: tuple[str, ...],
    each: int | None,
    cores: int,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_engine, "available_cores", lambda: cores)
    assert default_workers(device, devices, each) == workers


@pytest.mark.parametrize("name", ["local", "inline"])
def test_a_gpu_that_is_not_there_is_told_before_anything_is_made(name: str) -> None:
    with pytest.raises(UserError, match="device cuda:99: this machine has"):
        check_device(EngineSettings(name=name, device="cuda:99"), trains_final=False)
    check_device(EngineSettings(name=name, device="cpu"), trains_final=True)
    # The machines of a cluster may have one.
    check_device(EngineSettings(name="slurm", device="cuda:99"), trains_final=False)


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cuda", 1, "--processes 2: this machine has 1 CUDA devices"),
        ("cuda:1", 2, "--processes 2: each takes a GPU of its own, and --device cuda:1 is one"),
        ("mps", 0, "--processes 2: one process alone trains on mps"),
    ],
)
def test_too_few_gpus_for_the_final_trainings_processes_are_told_before_the_search(
    device: str, gpus: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    given = EngineSettings(name="local", device=device)
    with pytest.raises(UserError, match=said):
        check_device(given, trains_final=True, processes=2)
    check_device(given, trains_final=True, processes=1)
    check_device(given, trains_final=False, processes=2)
    check_device(EngineSettings(name="local", device="cpu"), trains_final=True, processes=2)

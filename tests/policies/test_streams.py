"""Transforms outside a DataLoader: pools of processes, threads, a training that goes on elsewhere."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augsearch.policies import Mixing, Policy
from augsearch.policies.tensor import TensorMixing, TensorPolicy

POLICY = Policy(num_ops=4, magnitude="random", crop=1.0, flip_horizontal=0.5)
IMAGE = np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8)
BATCH = np.stack([IMAGE] * 16)
"""So many that hardly ever each is mixed with itself, which of four happens once in 24 draws."""


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads that take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def bytes_of(result: Any) -> bytes:
    if isinstance(result, tuple):
        return b"".join(map(bytes_of, result))
    return bytes(np.asarray(result).tobytes())


def tensors() -> torch.Tensor:
    return torch.from_numpy(BATCH).permute(0, 3, 1, 2)


MAKERS: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
    "transform": (lambda: POLICY.transform(seed=0), (IMAGE,)),
    "batch_transform": (lambda: POLICY.batch_transform(seed=0), (BATCH,)),
    "TensorPolicy": (lambda: TensorPolicy(POLICY, seed=0), (tensors(),)),
    "mixing": (lambda: Mixing(kind="mixup").batch_transform(classes=16, seed=0), (BATCH, np.arange(16))),
    "TensorMixing": (lambda: TensorMixing(Mixing(kind="mixup"), 16, seed=0), (tensors(), torch.arange(16))),
}


def applied(task: tuple[Any, tuple[Any, ...]]) -> bytes:
    transform, data = task
    return bytes_of(transform(*data))


_SHARED: list[Any] = []


def applied_shared(_: int) -> bytes:
    transform, data = _SHARED
    return bytes_of(transform(*data))


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """As a forked process has it: the others stay behind."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes can't fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("what", MAKERS)
def test_a_pool_of_processes_repeats_no_draw(what: str, one_torch_thread: None) -> None:
    make, data = MAKERS[what]
    transform = make()
    transform(*data)
    _SHARED[:] = [transform, data]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        sent = pool.map(applied, [(transform, data)] * 8, chunksize=1)
        inherited = pool.map(applied_shared, range(8), chunksize=1)
    assert len({*sent, *inherited, bytes_of(transform(*data))}) == 17


def test_a_process_that_is_started_anew_repeats_no_draw_either() -> None:
    code = (
        "import multiprocessing, numpy as np\n"
        "from augsearch.policies import Policy\n"
        "if __name__ == '__main__':\n"
        "    transform = Policy(num_ops=4, magnitude='random', crop=1.0).transform(seed=0)\n"
        "    image = np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8)\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        results = pool.map(transform, [image] * 8, chunksize=1)\n"
        "    print(len({one.tobytes() for one in results}))\n"
    )
    Path("spawned.py").write_text(code)
    done = subprocess.run([sys.executable, "spawned.py"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "8"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("what", MAKERS)
def test_threads_may_share_one_and_get_the_draws_of_its_stream(what: str, impatient: None) -> None:
    make, data = MAKERS[what]
    shared, alone = make(), make()
    count = 600 if what == "transform" else 10

    def some(_: int) -> list[bytes]:
        return [bytes_of(shared(*data)) for _ in range(count)]

    with ThreadPoolExecutor(4) as threads:
        together = [one for results in threads.map(some, range(4)) for one in results]
    assert sorted(together) == sorted(bytes_of(alone(*data)) for _ in range(4 * count))


def test_a_draw_is_taken_once_where_few_are_left(impatient: None) -> None:
    transform, reference = POLICY.transform(seed=0), POLICY.transform(seed=0)
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: transform._draw(), range(3_000)))
    expected = [reference._draw() for _ in range(3_000)]
    assert sorted(map(repr, drawn)) == sorted(map(repr, expected))


@pytest.mark.parametrize("what", MAKERS)
def test_a_copy_in_the_same_process_goes_on_alike(what: str) -> None:
    make, data = MAKERS[what]
    transform = make()
    transform(*data)
    copies = copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))
    expected = [bytes_of(transform(*data)) for _ in range(3)]
    for one in copies:
        assert [bytes_of(one(*data)) for _ in range(3)] == expected


def test_a_training_that_goes_on_in_another_main_process_goes_on_alike() -> None:
    transform = POLICY.transform(seed=0)
    transform(IMAGE)
    Path("state.pkl").write_bytes(pickle.dumps((transform, IMAGE)))
    code = (
        "import pickle\n"
        "transform, image = pickle.load(open('state.pkl', 'rb'))\n"
        "print(b''.join(transform(image).tobytes() for _ in range(3)).hex())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == b"".join(bytes_of(transform(IMAGE)) for _ in range(3)).hex()

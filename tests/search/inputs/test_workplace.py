"""Two studies of the same data in one folder: neither takes from the other what it works with."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.workplace import alone, remove_teachers
from augsearch.search.settings.settings import Settings
from augsearch.trainers.tasks.teacher import fold_teacher
from augsearch.trainers.workspace.folder import open_workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, Stage

OTHER = """
import sys
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.settings.settings import Settings
open_data(Settings.of(data="stripes.npz", proxy_model="tiny", epochs=1), Display())
print("here", flush=True)
sys.stdin.readline()
"""


def opened(stripes: str) -> Data:
    return open_data(Settings.of(data=stripes, proxy_model="tiny", epochs=1), Display())


def test_teachers_stay_while_another_driver_may_ask_for_them(stripes: str) -> None:
    workspace = opened(Path(stripes).name).workspace
    teacher = fold_teacher(workspace, Fold(Stage.SEARCH, 0), torch.device("cpu")).path
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    while other.stdout.readline() != "here\n":
        assert other.poll() is None
    remove_teachers(workspace)
    assert teacher.exists()
    with pytest.raises(UserError, match=f"process {other.pid} is at work in mlruns"), alone():
        pass
    other.kill()  # it says no good-bye
    other.communicate()
    with alone():
        pass
    remove_teachers(workspace)
    assert not teacher.exists()


def test_a_workspace_is_read_whole_however_often_it_is_written(stripes: str) -> None:
    data = opened(stripes)
    workspace, stop, failures = data.workspace, threading.Event(), list[Exception]()

    def read() -> None:
        while not stop.is_set():
            open_workspace.cache_clear()
            try:
                open_workspace(workspace.folder)
            except Exception as error:
                # Python before 3.11.8, where two threads parse at once, as NumPy does headers (gh-106905).
                if "AST constructor recursion depth mismatch" not in str(error):
                    failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(50):
            write_workspace(workspace.folder, data.images, data.splits, workspace.proxy)
    finally:  # a thread that runs on disturbs how the failure is told
        stop.set()
        reader.join()
    assert not failures

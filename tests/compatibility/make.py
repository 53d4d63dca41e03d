"""Makes the things that ``test_versions.py`` opens, with the version of augsearch that is installed.

    python tests/compatibility/make.py tests/compatibility/v0.1

Run it with the Python of an environment in which that version is installed. It takes some minutes and writes
a folder that holds: the images; ``mlruns.tar.xz``, everything that runs leave behind; ``models.tar.xz``;
``interrupted.tar.xz``, a final training that was killed; ``policies/``; ``settings.toml``; and
``predictions.json``, what a model said of some images. Absolute paths are replaced by ``@HERE@``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

HERE = "@HERE@"
"""Stands for the folder in which everything was made."""

DATA = "tiny.npz"
QUICK = (
    *("--folds", "2", "--epochs", "1", "--fold-size", "20", "--confirm-folds", "4", "--workers", "1"),
    *("--proxy-model", "tiny", "--final-model", "tiny", "--final-epochs", "1"),
)
"""As short as a run can be."""

ASIDE = ("--storage", "sqlite:///aside/studies.db")
TRACKED_ASIDE = "sqlite:///aside/mlflow.db"
"""Of searches and trainings that are made for their policy or model alone."""

SETTINGS = """\
data = "tiny.npz"
trials = 9
folds = 3
confirm_folds = 5
finalists = 3
metric = "macro-f1"
margin = 0.03
sampler = "random"
pruner = "median"
timeout = 600.0
fold_timeout = 50.0
workers = 2
study = "from a file"
storage = "sqlite:///mlruns/studies.db"
tracking_uri = "sqlite:///mlruns/mlflow.db"
output = "results"
seed = 7
image_size = 24
limit = 40
skip_bad_images = true
operations = ["rotate", "solarize"]
proxy_model = "small"
weights = "none"
input_size = 32
transfer = "none"
backbone_lr_scale = 0.2
layer_decay = 0.8
epochs = 2
fold_size = 30
teacher = "tiny"
teacher_weights = "none"
teacher_view = "clean"
semi = "fixmatch"
threshold = 0.9
unlabeled_weight = 2.0
unlabeled_ratio = 3.0
class_cap = 1.5
rounds = 2
first_teacher = "tiny"
final = true
final_model = "wide"
final_size = 28
final_epochs = 4
patience = 2
batch_size = 32
accumulation = 2
learning_rate = 0.01
label_smoothing = 0.05
warm_up = 0.2
ema = 0.99
precision = "float32"
crop_scale = 0.5
processes = 1
device = "cpu"
"""
"""Every key of a settings file, none of it as by default where there is a choice."""


def main(target: Path) -> None:
    """Make everything, and pack it into ``target``."""
    target = target.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_images(Path(DATA))
        make_studies()
        make_policies()
        make_models()
        make_interrupted()
        make_settings()
        make_predictions()
        drop_artifacts_aside()
        make_portable(Path())
        pack_all(target)


def make_images(path: Path) -> None:
    """120 grey 16-px images of three classes that can be learned; every fifth has no label."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    patterns = np.stack([np.sin(x), np.sin(y), np.sin((x + y) / 1.5)])
    labels = np.repeat(np.arange(3), 40)
    images = np.clip(128 + 60 * patterns[labels] + rng.normal(0, 40, (120, 16, 16)), 0, 255)
    labels[::5] = -1
    classes = np.array(["across", "down", "slanted"])
    np.savez_compressed(path, images=images.astype(np.uint8), labels=labels, classes=classes)


def make_studies() -> None:
    """One that is finished, with its final model; one killed in its search; one killed while confirming."""
    augsearch("run", DATA, "--study", "finished", "--trials", "6", *QUICK)
    killed = ("run", DATA, "--trials", "7", *QUICK)
    killed_when(
        lambda: count("trial_user_attributes", "fold %", "searching") >= 5, *killed, "--study", "searching"
    )
    killed_when(
        lambda: count("study_user_attributes", "confirmation %", "confirming") >= 7,
        *killed,
        "--study",
        "confirming",
    )


def make_policies() -> None:
    """One of each kind that a policy file can be."""
    Path("policies").mkdir()
    export("finished", 2, "plain")
    assert any(export("finished", number, "distilled")["training"]["distillation"] for number in (5, 4))
    network = ("--proxy-model", "mlruns/finished/model.safetensors")
    search_aside("transfer", "--trials", "5", "--transfer", "search", *network)
    assert export("transfer", 4, "transfer", *ASIDE)["training"]["transfer"]
    # After the four baselines without unlabeled images comes one of each technique that needs no teacher.
    search_aside("unlabeled", "--trials", "7", "--semi", "search")
    for number, technique in enumerate(("pseudo", "self-training", "fixmatch"), 4):
        assert export("unlabeled", number, technique, *ASIDE)["training"]["semi"]["technique"] == technique
    search_aside("distillation", "--trials", "5", "--semi", "distillation")
    assert (
        export("distillation", 0, "distillation", *ASIDE)["training"]["semi"]["technique"] == "distillation"
    )


def search_aside(study: str, *flags: str) -> None:
    """Search for policies to export; nothing else of it is kept."""
    result = ("--tracking-uri", TRACKED_ASIDE, "--output", f"aside/{study}", "--no-final")
    augsearch("run", DATA, "--study", study, *ASIDE, *QUICK, *result, *flags)


def make_models() -> None:
    """One of each built-in network, and what ``augsearch train`` makes of policy files."""
    for network in ("small", "medium", "wide"):
        train("plain", network, "--model", network)
        without_weights(Path("models", network, "model.safetensors"))
    train("fixmatch", "fixmatch", "--model", "tiny")
    train("distilled", "distilled", "--model", "tiny")  # whose teacher is kept in mlruns/work/teachers
    for file in Path("models").rglob("*"):
        if file.is_file() and file.name not in ("model.safetensors", "model.json"):
            file.unlink()


def make_interrupted() -> None:
    """A final training killed after some epochs: its checkpoint, and the best model until then."""
    result = ("--output", "interrupted", "--tracking-uri", TRACKED_ASIDE)
    command = ("train", DATA, "--policy", "policies/plain.json", "--model", "tiny", "--epochs", "60", *result)
    killed_when(Path("interrupted/.model.checkpoint").exists, *command)


def make_settings() -> None:
    """A settings file that the version accepts."""
    Path("settings.toml").write_text(SETTINGS, encoding="utf-8")
    augsearch("run", "--config", "settings.toml", "--show-config")


def make_predictions() -> None:
    """What the finished study's model says of the first image of each class."""
    with np.load(DATA) as data:
        for row in (1, 41, 81):
            cv2.imwrite(f"{row}.png", data["images"][row])
    files = ("1.png", "41.png", "81.png")
    said = augsearch("predict", "mlruns/finished/model.safetensors", *files, "--json", "--device", "cpu")
    document = [json.loads(line) for line in said.splitlines()]
    Path("predictions.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def augsearch(*arguments: str) -> str:
    """Run the command of the version that is installed; returns what it printed."""
    print("augsearch", *arguments, flush=True)
    done = subprocess.run(_command(*arguments), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("augsearch")), *arguments]


def killed_when(ready: Callable[[], bool], *arguments: str) -> None:
    """Start the command and kill it, and all that it started, as soon as ``ready`` says so."""
    print("augsearch", *arguments, "(killed)", flush=True)
    process = subprocess.Popen(_command(*arguments), stdout=subprocess.DEVNULL, start_new_session=True)
    while not ready():
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def count(table: str, key: str, study: str) -> int:
    """How many attributes of that kind a study has by now."""
    joins = {
        "trial_user_attributes": "JOIN trials USING (trial_id) JOIN studies USING (study_id)",
        "study_user_attributes": "JOIN studies USING (study_id)",
    }
    query = f"SELECT count(*) FROM {table} {joins[table]} WHERE key LIKE ? AND study_name = ?"
    connection = sqlite3.connect("mlruns/studies.db", timeout=60)
    try:
        return int(connection.execute(query, (key, study)).fetchone()[0])
    finally:
        connection.close()


def export(study: str, trial: int, name: str, *flags: str) -> dict[str, Any]:
    """Export a trial's policy as ``policies/NAME.json``; returns what the file says."""
    path = Path("policies", f"{name}.json")
    augsearch("export", study, "--trial", str(trial), "-o", str(path), *flags)
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def train(name: str, output: str, *flags: str) -> None:
    """Train one epoch from the policy file ``name``."""
    file = f"policies/{name}.json"
    result = ("--output", f"models/{output}", "--tracking-uri", TRACKED_ASIDE)
    augsearch("train", DATA, "--policy", file, "--epochs", "1", *result, *flags)


def without_weights(path: Path) -> None:
    """Set the large tensors to 0, so that a large network takes no room when it is packed."""
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    large = [name for name, values in tensors.items() if values.size >= 100]
    tensors |= {name: np.zeros_like(tensors[name]) for name in large}
    save_file(tensors, path, metadata)


def drop_artifacts_aside() -> None:
    """Remove the artifacts of runs that are not kept: they lie beside those of runs that are."""
    connection = sqlite3.connect("mlruns/mlflow.db")
    kept = {run for (run,) in connection.execute("SELECT run_uuid FROM runs")}
    connection.close()
    for folder in Path("mlruns/artifacts").iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder)


def make_portable(folder: Path) -> None:
    """Replace the path of ``folder`` by ``@HERE@``, in databases and in text files."""
    here = str(folder.absolute())
    for path in folder.rglob("*.db"):
        connection = sqlite3.connect(path)
        replace_text(connection, here, HERE)
        connection.execute("VACUUM")  # else what was there before is still in the file
        connection.close()
    for path in folder.rglob("*"):
        if path.is_file() and here.encode() in (content := path.read_bytes()):
            assert path.suffix in (".json", ".yaml", ".toml", ".html", ""), path
            path.write_bytes(content.replace(here.encode(), HERE.encode()))


def replace_text(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Replace ``old`` by ``new`` in every column of text, in the middle of a value too."""
    connection.execute("PRAGMA foreign_keys = OFF")
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f"PRAGMA table_info('{table}')").fetchall():
            if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)',
                    (old, new, old),
                )
    connection.commit()


def pack_all(target: Path) -> None:
    """Write what was made into ``target``."""
    (target / "policies").mkdir(parents=True, exist_ok=True)
    pack(Path("mlruns"), target, without=("locks", ".mlflow.db.lock"))
    pack(Path("models"), target)
    pack(Path("interrupted"), target)
    for file in (DATA, "settings.toml", "predictions.json", *map(str, Path("policies").glob("*.json"))):
        (target / file).write_bytes(Path(file).read_bytes())


def pack(folder: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    """Write ``folder`` as ``target/FOLDER.tar.xz``; no owner, no times."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if set(Path(member.name).parts) & set(without):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return member

    file: IO[bytes]
    with (
        (target / f"{folder.name}.tar.xz").open("wb") as file,
        tarfile.open(fileobj=file, mode="w:xz") as archive,
    ):
        archive.add(folder, filter=anonymous)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

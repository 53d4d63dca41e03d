"""The policy file: what is written is read; a stranger's file does no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import (
    TRIVIALAUGMENT,
    Distillation,
    Mixing,
    Policy,
    PolicyFile,
    Training,
    Transfer,
    UserError,
    json_schema,
    read_policy,
    write_policy,
)
from augsearch.trainers.semi.techniques import load_techniques

ROOT = Path(__file__).parents[2]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = PolicyFile(
        policy=Policy(
            num_ops=3, magnitude=12, operations=("rotate", "equalize"), mixing=Mixing(kind="mixup", alpha=0.2)
        ),
        training=Training(
            distillation=Distillation(temperature=4, alpha=0.7, teacher_view="clean"),
            transfer=Transfer(mode="full", backbone_lr_scale=0.3, layer_decay=0.75),
        ),
        provenance={"study": "demo", "seeds": [1, 2]},
        evidence={"mean": 0.851, "n": 3},
    )
    write_policy(file, tmp_path / "new" / "policy.json")
    assert read_policy(tmp_path / "new" / "policy.json") == file
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["policy.json"]


def document(**policy: Any) -> dict[str, Any]:
    return {"format": "augsearch-policy", "version": 1, "policy": policy}


def training(**training: Any) -> str:
    return json.dumps({**document(), "training": training})


def test_a_file_that_says_nothing_of_views_and_transfer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(training(distillation={"temperature": 4, "alpha": 0.7}))
    found = read_policy(path).training
    assert found == Training(distillation=Distillation(temperature=4, alpha=0.7, teacher_view="same"))
    assert found.transfer is None


def test_a_transfer_needs_its_mode_alone(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(training(transfer={"mode": "full"}))
    transfer = read_policy(path).training.transfer
    # The backbone at a tenth, all of its layers alike.
    assert transfer == Transfer(mode="full", backbone_lr_scale=0.1, layer_decay=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "not a policy file"),
        ('{"num_ops": 2}', "not a policy file"),
        (json.dumps({**document(), "version": 5}), "format version 5; this augsearch reads versions 1 to 4"),
        (json.dumps({**document(), "version": True}), "format version True"),
        (json.dumps(document(operations=["spin"])), "policy.operations: unknown operation 'spin'"),
        (json.dumps(document(magnitude=45)), "policy.magnitude: must be a whole number from 0 to 30"),
        (json.dumps(document(magnitude="strong")), "policy.magnitude must be"),
        (json.dumps(document(crop=float("nan"))), "NaN is not a number in JSON"),
        (json.dumps(document(crop="yes")), "policy.crop must be a number, got 'yes'"),
        (json.dumps(document(colour=1)), "policy.colour is not a known field"),
        (
            json.dumps({**document(), "training": {"distillation": {"temperature": -1, "alpha": 0.5}}}),
            "training.distillation.temperature must be > 0, got -1",
        ),
        (
            training(distillation={"temperature": 4, "alpha": 1.5}),
            "training.distillation.alpha must be ≤ 1, got 1.5",
        ),
        (
            training(distillation={"temperature": 4, "alpha": 0.5, "teacher_view": "both"}),
            "training.distillation.teacher_view must be 'same' or 'clean', got 'both'",
        ),
        (training(transfer={}), "training.transfer.mode is missing"),
        (
            training(transfer={"mode": "half"}),
            "training.transfer.mode must be 'head' or 'full', got 'half'",
        ),
        (
            training(transfer={"mode": "full", "backbone_lr_scale": 0}),
            "training.transfer.backbone_lr_scale must be > 0, got 0",
        ),
        (
            training(transfer={"mode": "full", "backbone_lr_scale": 1.5}),
            "training.transfer.backbone_lr_scale must be ≤ 1, got 1.5",
        ),
        (
            training(transfer={"mode": "full", "layer_decay": 2}),
            "training.transfer.layer_decay must be ≤ 1, got 2",
        ),
        (
            training(transfer={"mode": "full", "layer_decay": 0}),
            "training.transfer.layer_decay must be > 0, got 0",
        ),
        (training(transfer={"mode": "full", "freeze": 3}), "training.transfer.freeze is not a known field"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_policy(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(UserError, match="larger than 16 MiB"):
        read_policy(huge)


def test_the_published_schema_is_the_current_one() -> None:
    load_techniques()
    published = json.loads((ROOT / "docs" / "policy.schema.json").read_text())
    assert published == json_schema()


def test_trivialaugment_survives_the_file(tmp_path: Path) -> None:
    write_policy(PolicyFile(policy=TRIVIALAUGMENT), tmp_path / "policy.json")
    assert read_policy(tmp_path / "policy.json").policy == TRIVIALAUGMENT

"""What a run tells a person to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import Distillation, Policy, PolicyFile, Training, write_policy
from augsearch.search.pipelines.run import Outcome, next_steps
from augsearch.search.settings.settings import Settings
from augsearch.search.statistics.verdict import Verdict

VERDICT = Verdict("Use it.", "as good", 0, "accuracy", 0.01, (), ())
TAUGHT = Training(distillation=Distillation(temperature=2, alpha=0.5))


@pytest.mark.parametrize(
    ("training", "said", "train"),
    [
        (Training(), {}, "augsearch train --policy policy.json"),
        # A policy that was found without a teacher is not to be distilled into.
        (Training(), {"teacher": "small"}, "augsearch train --policy policy.json"),
        (TAUGHT, {"teacher": "small"}, "augsearch train --policy policy.json --teacher small"),
        (
            Training(),
            {"data": "my photos", "seed": 3, "final_model": "tiny", "batch_size": 16},
            "augsearch train 'my photos' --policy policy.json --model tiny --seed 3 --batch-size 16",
        ),
        (
            Training(),
            {"final_model": "torchvision:resnet18", "transfer": "head"},
            "augsearch train --policy policy.json --model torchvision:resnet18 --transfer head",
        ),
    ],
)
def test_the_next_training_is_told_what_the_run_was_told(
    training: Training, said: dict[str, Any], train: str, tmp_path: Path
) -> None:
    path = tmp_path / "policy.json"
    write_policy(PolicyFile(policy=Policy(), training=training), path)
    words = next_steps(Settings.of(**said), Outcome("study", VERDICT, path, None))
    assert words.splitlines()[-1].strip() == train

"""A preview shows training images, never those of the sealed test part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from augsearch.policies import Policy, PolicyFile, write_policy
from augsearch.search.pipelines import preview as previews
from augsearch.search.pipelines.preview import draw_preview
from augsearch.search.settings.data import DataSettings
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import Splits, split


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int64]]:
    """The rows from which previews choose."""
    rows: list[NDArray[np.int64]] = []
    draw = previews.preview_of

    def noted(policy: Policy, data: ImageData, training: NDArray[np.int64], **how: Any) -> Any:
        rows.append(training)
        return draw(policy, data, training, **how)

    monkeypatch.setattr(previews, "preview_of", noted)
    return rows


def parts_of(source: str, seed: int) -> Splits:
    data = open_images(source, image_size=None, cache=Path("cache"))
    return split(data.labels, data.given, classes=data.classes, seed=seed)


@pytest.mark.parametrize(
    ("provenance", "seed"), [({}, 0), ({"made_from": {"seed": 7}}, 7), ({"made_from": "a friend"}, 0)]
)
def test_a_preview_is_of_what_the_policy_was_searched_on(
    stripes: str, shown: list[NDArray[np.int64]], provenance: dict[str, Any], seed: int
) -> None:
    write_policy(PolicyFile(policy=Policy(), provenance=provenance), Path("policy.json"))
    draw_preview(Path("policy.json"), DataSettings(source=stripes), Path("sheet.png"), 0)
    assert shown[0].tolist() == parts_of(stripes, seed).train.tolist()


def test_images_too_few_to_divide_are_shown(workplace: Path, shown: list[NDArray[np.int64]]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    np.savez(workplace / "few.npz", images=images, labels=[0, 1, 0, 1], parts=[0, 0, 0, 3])
    write_policy(PolicyFile(policy=Policy()), Path("policy.json"))
    draw_preview(Path("policy.json"), DataSettings(source="few.npz"), Path("sheet.png"), 0)
    assert shown[0].tolist() == [0, 1, 2]

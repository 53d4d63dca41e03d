"""The commands on images of bands: what tells the classes apart is in a band that RGB lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from augsearch.policies.registry import OPERATION_SETS
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data, without_colours
from augsearch.search.serving import _load_pyfunc
from augsearch.search.settings.settings import Settings
from augsearch.search.tracking.models import as_file
from tests.search.test_cli import augsearch, succeeded

BANDS = 6


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """60 tiles of 16 px and 12 bits: in the fifth band one class is bright, in the others nothing differs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, bright in (("field", 0), ("water", 2000)):
        folder = tmp_path / "tiles" / name
        folder.mkdir(parents=True)
        for number in range(30):
            image = rng.integers(0, 2000, (16, 16, BANDS), np.uint16)
            image[..., 4] += np.uint16(bright)
            np.save(folder / f"{number}.npy", image)
    return "tiles"


def test_a_model_of_bands_is_trained_predicts_and_is_served(tiles: str) -> None:
    output = succeeded(
        "train", tiles, "--policy", "randaugment(2,9)", "--model", "tiny", "--final-epochs", "12"
    )
    assert f"16 px of {BANDS} bands" in output
    told = succeeded("predict", "model.safetensors", f"{tiles}/field/0.npy", f"{tiles}/water/0.npy")
    assert [line.split()[1] for line in told.splitlines() if ".npy" in line] == ["field", "water"]
    np.save("three.npy", np.load(f"{tiles}/field/0.npy")[..., :3])
    other = augsearch("predict", "model.safetensors", "three.npy")
    assert (other.exit_code, "three.npy: has 3 channels instead of 6" in other.output) == (2, True)
    example = DataFrame({"image": [as_file(np.zeros((16, 16, BANDS), np.uint8))]})
    served = _load_pyfunc(str(Path("model.safetensors").absolute()))
    assert served.predict(example)["label"].tolist() == ["field"]


def test_colour_operations_are_not_searched_on_bands_unless_three_are_chosen(tiles: str) -> None:
    whole = Settings.of(data=tiles, proxy_model="tiny", final_model="tiny")
    data = open_data(whole, Display())
    assert without_colours(whole, data, Display()).search.operations == tuple(
        name for name in OPERATION_SETS["randaugment"] if name != "color"
    )
    colours = Settings.of(data=tiles, bands="5,2,1", proxy_model="tiny", final_model="tiny")
    assert without_colours(colours, open_data(colours, Display()), Display()) is colours

"""The notebooks of examples/ run from the first cell to the last; what is kept of their output is small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pictures import make_photos

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
LARGEST = 300_000
"""Bytes of a notebook with its outputs."""

SIZES = 'trials=7, folds=1, epochs=1, confirm_folds=2, final_epochs=1, proxy_model="tiny", final_model="tiny"'
QUICK = {
    'budget="4m"': f'{SIZES}, teacher="none", limit=200, engine="inline"',
    'budget="10m"': f'{SIZES}, teacher="none", engine="inline"',
    "limit=500, trials=10, folds=2, confirm_folds=8": "limit=200, trials=7, folds=1, confirm_folds=2",
    "epochs=10": "epochs=1",
}
"""What stands in the notebooks, and what the test has in its place so that they take seconds."""


def test_the_notebooks_are_these_and_small() -> None:
    assert NOTEBOOKS == ["own_training_loop.ipynb", "photos.ipynb", "quickstart.ipynb"]
    for name in NOTEBOOKS:
        assert (EXAMPLES / name).stat().st_size <= LARGEST, name
    every = "".join((EXAMPLES / name).read_text(encoding="utf-8") for name in NOTEBOOKS).replace('\\"', '"')
    assert [said for said in QUICK if said not in every] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all of them: to make MLflow's database takes longer than a search."""
    made = tmp_path_factory.mktemp("notebooks")
    make_photos(made / "photos")
    return made


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="pip install nbclient ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book: Any = nbformat.read(EXAMPLES / name, as_version=4)
    for cell in book.cells:
        for said, instead in QUICK.items():
            cell.source = cell.source.replace(said, instead)
    nbclient.NotebookClient(book, timeout=None, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", [])]
    html = " ".join(output.data["text/html"] for output in shown if "text/html" in output.get("data", {}))
    assert "over the best baseline" in html
    assert "<progress" not in html  # the bar is gone when it is done
    text = "".join(output.text for output in shown if output.output_type == "stream")
    assert "confirming on up to 2 fresh folds" in text

"""A copy of the project with an operation that crashes, hangs or takes all memory, once each.

So is what a user's own operation may do. It does so where a marker file lies in the folder that the
environment names, and removes the file before: the same fold, trained again, goes well.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MARKERS = "CHAOS_MARKERS"
"""The variable that names the folder."""
STUMBLES = ("crash", "leak", "hang")
OPERATION = f'''

def _stumble() -> None:
    import contextlib, os, pathlib, time

    markers = pathlib.Path(os.environ["{MARKERS}"])
    for what in {STUMBLES!r}:
        try:
            (markers / what).unlink()
        except OSError:
            continue
        if what == "crash":
            os.abort()
        taken = []
        while what == "leak":
            taken.append(bytearray(b"x" * 2**24))
            time.sleep(0.01)
        while what == "hang":
            time.sleep(1)


@operation("table", Range(0, 64), sets=("wide",), unit="grey levels")
def stumble(value: float) -> Table:
    """Subtract from every grey value, if it comes to that."""
    _stumble()
    return Table(np.clip(IDENTITY_ENTRIES - value, 0, 255).astype(np.uint8))
'''


def build(root: Path) -> Path:
    """Make the copy in ``root``; returns what belongs into ``PYTHONPATH``."""
    project = Path(__file__).parents[2]
    for folder in ("policies", "trainers", "search"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(project / folder, root / "augsearch" / folder, ignore=ignored)
    with (root / "augsearch/policies/operations.py").open("a", encoding="utf-8") as file:
        file.write(OPERATION)
    return root

"""Models' predictions kept in a file, so that no model predicts the same image twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.semi.predictions import Predictions

Prediction = tuple[NDArray[np.int32], NDArray[np.float32]]
"""What is predicted for one image: labels (k,) and their probabilities (k,), the likeliest first."""

VARIABLES = 500
"""In one query; some builds of SQLite take no more than 999."""

WAIT = 60.0
"""Seconds until another process's writing is taken for an error."""

# Files of old have these names of tables and columns: ``labelers`` are models, ``guesses`` predictions.
# Not WITHOUT ROWID: content keys come in random order, and rows that are appended take half the time.
TABLES = """
CREATE TABLE IF NOT EXISTS labelers (number INTEGER PRIMARY KEY, name TEXT UNIQUE, classes INTEGER);
CREATE TABLE IF NOT EXISTS guesses (
    labeler INTEGER, key BLOB, labels BLOB, probabilities BLOB, PRIMARY KEY (labeler, key)
);
"""


class LabelStore:
    """An SQLite file of predictions by model and image.

    Images go by content (``Unlabeled.keys``), so a file that was moved or renamed is still known. What was
    kept is there even if the process is killed right after. To be used from the thread that made it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            UserError: it is no such file, or can't be written.
        """
        self._path = path
        with self._errors_in_one_line():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=WAIT)
            try:
                # A killed process loses nothing, and what a power cut takes can be asked again.
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.executescript(TABLES)
            except sqlite3.Error:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def num_classes(self, model_name: str) -> int | None:
        """K of what the model predicted; None if it is not known."""
        with self._errors_in_one_line():
            row = self._database.execute(
                "SELECT classes FROM labelers WHERE name = ?", (model_name,)
            ).fetchone()
        return None if row is None else int(row[0])

    def known(self, model_name: str, keys: Sequence[bytes]) -> dict[bytes, Prediction]:
        """What the model predicted of ``keys``, as far as it did."""
        found: dict[bytes, Prediction] = {}
        with self._errors_in_one_line():
            for start in range(0, len(keys), VARIABLES):
                some = keys[start : start + VARIABLES]
                marks = ", ".join("?" * len(some))
                rows = self._database.execute(
                    "SELECT key, labels, probabilities FROM guesses WHERE labeler = "
                    f"(SELECT number FROM labelers WHERE name = ?) AND key IN ({marks})",
                    (model_name, *some),
                )
                for key, labels, probabilities in rows:
                    found[key] = np.frombuffer(labels, "<i4"), np.frombuffer(probabilities, "<f4")
        return found

    def keep(self, model_name: str, keys: Sequence[bytes], predictions: Predictions) -> None:
        """Keep what a model predicts, all of it or, if this is interrupted, nothing.

        Args:
            model_name: says all that decides the predictions: the model and how it looks at an image.
            keys: of the images, in the order of ``predictions``; of a known one nothing changes.
            predictions: of N images.
        """
        labels, probabilities = predictions.labels.astype("<i4"), predictions.probabilities.astype("<f4")
        with self._errors_in_one_line(), self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO labelers (name, classes) VALUES (?, ?)",
                (model_name, predictions.num_classes),
            )
            (number,) = self._database.execute(
                "SELECT number FROM labelers WHERE name = ?", (model_name,)
            ).fetchone()
            self._database.executemany(
                "INSERT OR IGNORE INTO guesses VALUES (?, ?, ?, ?)",
                (
                    (number, key, labels[row].tobytes(), probabilities[row].tobytes())
                    for row, key in enumerate(keys)
                ),
            )

    def forget(self, but: Collection[str]) -> None:
        """Drop the predictions of all models but ``but``, and make the file as small as it can be."""
        with self._errors_in_one_line():
            known = self._database.execute("SELECT number, name FROM labelers").fetchall()
            dropped = [(number,) for number, name in known if name not in but]
            if not dropped:
                return
            with self._database:
                self._database.executemany("DELETE FROM guesses WHERE labeler = ?", dropped)
                self._database.executemany("DELETE FROM labelers WHERE number = ?", dropped)
            # Another process may be at it; then the room is used again anyway.
            with suppress(sqlite3.OperationalError):
                self._database.execute("VACUUM")

    @contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        """Say in one line what is wrong with the file."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self._path}: labels can't be kept here ({error}); free it, or remove it to label again"
            ) from error

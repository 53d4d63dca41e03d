"""A model as MLflow serves it: a table of image files in, a table of predictions out.

Models that were logged name this module and ``_load_pyfunc``: without them they can't be loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augsearch.trainers.evaluation.classifier import Classifier

if TYPE_CHECKING:
    from pandas import DataFrame

IMAGE = "image"
"""The input's only column: the bytes of an image file, in any format; base64 in JSON."""


class Served:
    """A classifier of tables."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def predict(self, table: DataFrame, params: dict[str, Any] | None = None) -> DataFrame:
        """Columns ``label``, ``confidence`` and ``probabilities``, in the order of the model's classes.

        Raises:
            UserError: an image can't be read; the message has its row.
        """
        from pandas import DataFrame

        predictions = self._classifier.predict(table[IMAGE])
        return DataFrame(
            {
                "label": [prediction.label for prediction in predictions],
                "confidence": [prediction.confidence for prediction in predictions],
                "probabilities": [prediction.probabilities.tolist() for prediction in predictions],
            },
            index=table.index,
        )


def _load_pyfunc(path: str) -> Served:
    return Served(Classifier.load(path, "auto"))

"""A model as MLflow serves it: a table of image files in, a table of predictions out.

Models that were logged name this module and ``_load_pyfunc``: without them they can't be loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augsearch.policies import UserError
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
            UserError: an image is not the bytes of a file, or can't be read; the message has its row.
        """
        from pandas import DataFrame

        for row, image in enumerate(table[IMAGE]):
            # A text would be the path of a file, and whoever asks may see none of this machine's.
            if not isinstance(image, bytes):
                raise UserError(
                    f"image {row}: must be the bytes of an image file (base64 in JSON), got "
                    f"{type(image).__name__}"
                )
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

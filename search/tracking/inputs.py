"""The data of a study as MLflow shows data sets: a name, a digest, where it is, how many images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

MOST = 36
"""Characters of a digest that MLflow takes."""


@dataclass(frozen=True, slots=True)
class TrackedData:
    """What is told of a data set."""

    name: str
    digest: str
    """Of its content."""
    source: str
    """As it was named."""
    profile: Mapping[str, int]
    """Images of each part, classes, side in pixels."""

    def as_input(self, context: str) -> DatasetInput:
        """What a run has as its input; ``context``: what for."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=self.name,
            digest=self.digest[:MOST],
            source_type="local",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps(dict(self.profile)),
        )
        return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])

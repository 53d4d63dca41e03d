"""A trained model that predicts from images as people have them: files, bytes, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.policies import UserError
from augsearch.trainers.data.bands import are_bands_first
from augsearch.trainers.data.decode import (
    BadImageError,
    Pixels,
    decode_file,
    fit_array,
    pillow_without_warnings,
    with_channels,
)
from augsearch.trainers.data.form import Reading
from augsearch.trainers.evaluation.inference import predict as predict_logits
from augsearch.trainers.evaluation.metrics import TrainingDivergedError, log_probabilities
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.system.devices import resolve_device
from augsearch.trainers.system.threads import in_order

Picture = Path | str | bytes | NDArray[Any]
"""An image file's path, or its bytes, or pixels: uint8 (H, W) or (H, W, C), grey, RGB or RGBA."""

PictureT = TypeVar("PictureT", bound=Picture)

BATCH_SIZE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says of one image."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    """(K,): of each of ``classes``, 0 to 1; together 1."""

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """The probability of ``label``."""
        return float(self.probabilities.max())

    def top(self, count: int) -> list[tuple[str, float]]:
        """The ``count`` likeliest classes with their probabilities, the likeliest first."""
        likeliest = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[index], float(self.probabilities[index])) for index in likeliest]


class Classifier:
    """A trained model, ready to predict."""

    def __init__(self, model: nn.Module, spec: ModelSpec, device: torch.device) -> None:
        self._model, self._spec, self._device = model.eval().to(device), spec, device
        self._reading = Reading.model_validate(spec.reading or {})

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu", *, average_flips: bool = False) -> Classifier:
        """Read a model that augsearch trained: a ``.safetensors`` file with its card beside it.

        ``device`` is ``auto``, ``cpu``, ``cuda`` or ``cuda:1``. With ``average_flips`` it looks at
        an image and its mirror image, as a model whose card says so does in any case.

        Raises:
            UserError: a file is missing or is no model, or there is no such device.
        """
        return cls(*load_model(Path(path), average_flips=average_flips or None), resolve_device(device))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of a prediction's probabilities."""
        return self._spec.classes

    def __repr__(self) -> str:
        return f"<Classifier {self._spec.name}: {len(self.classes)} classes>"

    def predict(self, images: Iterable[Picture], batch_size: int = BATCH_SIZE) -> list[Prediction]:
        """Predict every image, read as in training: its shorter side scaled, the centre kept, or padded …

        Only a few batches are decoded at a time, so ``images`` may be a generator of any length.

        Raises:
            UserError: an image can't be read; the message names it, by its place if it has no name.
        """
        predictions: list[Prediction] = []
        with pillow_without_warnings():
            for image, answer in self.stream(images, batch_size):
                if isinstance(answer, BadImageError):
                    name = image if isinstance(image, Path | str) else f"image {len(predictions)}"
                    raise UserError(f"{name}: {answer}")
                predictions.append(answer)
        return predictions

    def stream(
        self, images: Iterable[PictureT], batch_size: int = BATCH_SIZE
    ) -> Iterator[tuple[PictureT, Prediction | BadImageError]]:
        """Yield each image with its prediction, or with why it can't be read, in the order of ``images``.

        Runs only a little ahead of what is taken. Enter ``pillow_without_warnings`` around it.

        Raises:
            UserError: the model's outputs are no numbers.
        """
        if isinstance(images, Path | str | bytes):
            raise TypeError("images must be several; for one give [image]")

        def fitted(image: PictureT) -> tuple[PictureT, Pixels | BadImageError]:
            try:
                return image, self._fit(image)
            except BadImageError as error:
                return image, error

        pairs = in_order(fitted, images)
        while batch := list(islice(pairs, batch_size)):
            predictions = self._predict([found for _, found in batch if isinstance(found, np.ndarray)])
            for image, found in batch:
                yield image, found if isinstance(found, BadImageError) else next(predictions)

    def _fit(self, image: Picture) -> Pixels:
        """Decode an image into a square of as many pixels and channels as the model was trained on."""
        size, reading = self._spec.image_size, self._reading
        if isinstance(image, np.ndarray):
            pixels = fit_array(_checked(image), size, reading)
        elif isinstance(image, Path | str | bytes):
            pixels = decode_file(Path(image) if isinstance(image, str) else image, size, reading)
        else:
            raise TypeError(f"an image must be a path, bytes or a NumPy array, got {type(image).__name__}")
        return with_channels(pixels, self._spec.channels)

    def _predict(self, images: list[Pixels]) -> Iterator[Prediction]:
        if not images:
            return
        logits = predict_logits(self._model, np.stack(images), self._device, batch_size=len(images))
        try:
            probabilities = np.exp(log_probabilities(logits))
        except TrainingDivergedError:
            raise UserError("the model's outputs are no numbers: its weights are broken") from None
        for row in probabilities:
            yield Prediction(self.classes, row)


def _checked(values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim not in (2, 3) or (values.ndim == 3 and are_bands_first(values.shape)):
        raise BadImageError(f"an array must be (H, W) or (H, W, C), got {values.shape}")
    if not values.size:
        raise BadImageError(f"an array of shape {values.shape} has no pixels")
    return values

"""A model predicts unlabeled images: all of them once, however many, and after a kill only the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.semi.label_store import LabelStore, Prediction
from augsearch.trainers.semi.predictions import Predictions
from augsearch.trainers.system.hashing import NO_KEY

if TYPE_CHECKING:
    import torch
    from torch import nn

    from augsearch.trainers.data.unlabeled.dataset import Unlabeled

CHUNK = 512
"""Images that are predicted together, and lost together if the process is killed."""

Indices = NDArray[np.int64]
Labeled = tuple[Indices, Predictions]
"""Indices into the pixels, and the predictions of those images."""


def label(
    model: nn.Module,
    unlabeled: Unlabeled,
    device: torch.device,
    *,
    store: LabelStore | None = None,
    model_name: str = "",
    progress: Callable[[int, int], None] | None = None,
    batch_size: int = 256,
) -> Labeled:
    """Predict the clean images of ``unlabeled.chosen`` by ``model`` in evaluation mode.

    Every module's mode is put back. Of images that are not in memory only some hundred are at a time.

    Args:
        model: takes uint8 (B, C, S, S), gives logits (B, K).
        unlabeled: the images.
        device: where ``model`` is.
        store: where to look for what the model predicted before, and to keep what it predicts now.
        model_name: with a store, says what decides the predictions: the weights and the side of the images.
        progress: called with (images done, images in all) after every 512.
        batch_size: images at a time.

    Returns:
        Which of ``unlabeled.chosen`` could be read, in their order, and the predictions of those.

    Raises:
        TrainingDivergedError: an output of the model is no number.
        UserError: there is no image that can be read, or the store can't be read or written.
    """
    # Here and not above: the driver of a search imports this module, and does without torch and Pillow.
    from augsearch.trainers.data.decode import pillow_without_warnings
    from augsearch.trainers.evaluation.inference import predict

    chosen = unlabeled.chosen
    chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]

    def predictions(images: NDArray[np.uint8]) -> Predictions:
        return Predictions.from_logits(predict(model, images, device, batch_size))

    labeled: list[Labeled] = []
    with pillow_without_warnings():
        answers = (
            _all(predictions, unlabeled, chunks)
            if store is None
            else _Remembered(predictions, unlabeled, store, model_name).answers(chunks)
        )
        done = 0
        for chunk, answer in zip(chunks, answers, strict=True):
            if answer is not None:
                labeled.append(answer)
            done += len(chunk)
            if progress is not None:
                progress(done, len(chosen))
    if not labeled:
        raise _no_image_left(unlabeled)
    return (
        np.concatenate([indices for indices, _ in labeled]),
        Predictions.joined([predicted for _, predicted in labeled]),
    )


def _no_image_left(unlabeled: Unlabeled) -> UserError:
    reasons = unlabeled.unreadable
    reason = f", the first can't be read: {reasons[0]}" if reasons else ""
    return UserError(f"{unlabeled.name}: no image is left to learn from{reason}")


def _all(
    predict: Callable[[NDArray[np.uint8]], Predictions], unlabeled: Unlabeled, chunks: list[Indices]
) -> Iterator[Labeled | None]:
    """The images of each chunk that can be read, and their predictions."""
    for indices, images in unlabeled.readable(chunks):
        yield (indices, predict(images)) if len(indices) else None


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A chunk whose unknown images are on their way."""

    indices: Indices
    keys: list[bytes]
    known: dict[bytes, Prediction]
    key_of: dict[int, bytes]
    """The images that are predicted: one of each content."""


@dataclass(frozen=True, slots=True, eq=False)
class _Remembered:
    """Predicts only images whose content is not in the store."""

    predict: Callable[[NDArray[np.uint8]], Predictions]
    unlabeled: Unlabeled
    store: LabelStore
    model_name: str

    _plans: deque[_Plan] = field(default_factory=deque)
    _on_their_way: set[bytes] = field(default_factory=lambda: {NO_KEY})
    """Keys of the images that some plan has predicted."""

    def answers(self, chunks: list[Indices]) -> Iterator[Labeled | None]:
        """As ``_all``; what is new is kept before it is yielded."""
        for indices, images in self.unlabeled.readable(self._wanted(chunks)):
            plan = self._plans.popleft()
            if len(indices):
                self._keep([plan.key_of[int(index)] for index in indices], self.predict(images), plan)
            self._on_their_way.difference_update(plan.key_of.values())
            yield self._joined(plan)

    def _wanted(self, chunks: list[Indices]) -> Iterator[Indices]:
        """The images of each chunk to predict; runs ahead of the answers, and leaves plans for them."""
        for indices in chunks:
            keys = self.unlabeled.keys(indices)
            known = self.store.known(self.model_name, list(set(keys)))
            key_of: dict[int, bytes] = {}
            for index, key in zip(indices, keys, strict=True):
                if key not in known and key not in self._on_their_way:
                    key_of[int(index)] = key
                    self._on_their_way.add(key)
            self._plans.append(_Plan(indices, keys, known, key_of))
            yield np.array(list(key_of), np.int64)

    def _keep(self, keys: list[bytes], predictions: Predictions, plan: _Plan) -> None:
        self.store.keep(self.model_name, keys, predictions)
        plan.known.update(
            zip(keys, zip(predictions.labels, predictions.probabilities, strict=True), strict=True)
        )

    def _joined(self, plan: _Plan) -> Labeled | None:
        """What was known and what is new, in the order of the chunk."""
        # Of the same content as an image of an earlier chunk, which was not known yet when this was planned.
        later = self.store.known(self.model_name, list(set(plan.keys) - plan.known.keys()))
        known = {**plan.known, **later}
        rows = [row for row, key in enumerate(plan.keys) if key in known]
        if not rows:
            return None
        predictions = [known[plan.keys[row]] for row in rows]
        num_classes = self.store.num_classes(self.model_name)
        assert num_classes is not None
        labels, probabilities = (np.stack(values) for values in zip(*predictions, strict=True))
        return plan.indices[rows], Predictions(labels, probabilities, num_classes)

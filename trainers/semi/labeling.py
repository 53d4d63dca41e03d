"""Asking a model about unlabeled images: all of them once, however many, and after a kill only the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.policies import UserError
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.semi.label_store import Guess, LabelStore
from augsearch.trainers.semi.predictions import Guesses
from augsearch.trainers.system.hashing import NO_KEY

CHUNK = 512
"""Images that are asked about together, and lost together if the process is killed."""

Indices = NDArray[np.int64]
Labeled = tuple[Indices, Guesses]
"""Indices into the pixels, and what the model says of them."""


def label(
    model: nn.Module,
    unlabeled: Unlabeled,
    device: torch.device,
    *,
    store: LabelStore | None = None,
    labeler: str = "",
    progress: Callable[[int, int], None] | None = None,
    batch_size: int = 256,
) -> Labeled:
    """Ask ``model`` about the clean images of ``unlabeled.chosen``, in evaluation mode.

    Every module's mode is put back. Only some hundred images are in memory at a time, beside those that are.

    Args:
        model: takes uint8 (B, C, S, S), gives logits (B, K).
        unlabeled: the images.
        device: where ``model`` is.
        store: where to look for what ``labeler`` said before, and to keep what it says now.
        labeler: with a store, a name for what decides the answers: the weights and the side of the images.
        progress: called with (images done, images in all) after every 512.
        batch_size: images at a time.

    Returns:
        Which of ``unlabeled.chosen`` could be read, in their order, and the guesses of them.

    Raises:
        TrainingDivergedError: an output of the model is no number.
        UserError: there is no image that can be read, or the store can't be read or written.
    """
    chosen = unlabeled.chosen
    chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]

    def ask(images: NDArray[np.uint8]) -> Guesses:
        return Guesses.from_logits(predict(model, images, device, batch_size))

    parts: list[Labeled] = []
    with pillow_without_warnings():
        answers = (
            _all(ask, unlabeled, chunks)
            if store is None
            else _Remembered(ask, unlabeled, store, labeler).answers(chunks)
        )
        done = 0
        for chunk, answer in zip(chunks, answers, strict=True):
            if answer is not None:
                parts.append(answer)
            done += len(chunk)
            if progress is not None:
                progress(done, len(chosen))
    if not parts:
        reasons = unlabeled.unreadable
        reason = f", the first can't be read: {reasons[0]}" if reasons else ""
        raise UserError(f"{unlabeled.name}: no image is left to learn from{reason}")
    return np.concatenate([indices for indices, _ in parts]), Guesses.joined([said for _, said in parts])


def _all(
    ask: Callable[[NDArray[np.uint8]], Guesses], unlabeled: Unlabeled, chunks: list[Indices]
) -> Iterator[Labeled | None]:
    """Of each chunk the images that can be read, and what the model says."""
    for indices, images in unlabeled.readable(chunks):
        yield (indices, ask(images)) if len(indices) else None


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A chunk whose unknown images are on their way."""

    indices: Indices
    keys: list[bytes]
    known: dict[bytes, Guess]
    key_of: dict[int, bytes]
    """Of the images that are asked about: one of each content."""


@dataclass(frozen=True, slots=True, eq=False)
class _Remembered:
    """Asks only about images whose content nobody asked about before."""

    ask: Callable[[NDArray[np.uint8]], Guesses]
    unlabeled: Unlabeled
    store: LabelStore
    labeler: str

    _plans: deque[_Plan] = field(default_factory=deque)
    _on_their_way: set[bytes] = field(default_factory=lambda: {NO_KEY})
    """Keys of the images that some plan asks about."""

    def answers(self, chunks: list[Indices]) -> Iterator[Labeled | None]:
        """As ``_all``; what is new is kept before it is yielded."""
        for indices, images in self.unlabeled.readable(self._wanted(chunks)):
            plan = self._plans.popleft()
            if len(indices):
                self._keep([plan.key_of[int(index)] for index in indices], self.ask(images), plan)
            self._on_their_way.difference_update(plan.key_of.values())
            yield self._joined(plan)

    def _wanted(self, chunks: list[Indices]) -> Iterator[Indices]:
        """Of each chunk what must be asked about; runs ahead of the answers, and leaves plans for them."""
        for indices in chunks:
            keys = self.unlabeled.keys(indices)
            known = self.store.known(self.labeler, list(set(keys)))
            key_of: dict[int, bytes] = {}
            for index, key in zip(indices, keys, strict=True):
                if key not in known and key not in self._on_their_way:
                    key_of[int(index)] = key
                    self._on_their_way.add(key)
            self._plans.append(_Plan(indices, keys, known, key_of))
            yield np.array(list(key_of), np.int64)

    def _keep(self, keys: list[bytes], guesses: Guesses, plan: _Plan) -> None:
        self.store.keep(self.labeler, keys, guesses)
        plan.known.update(zip(keys, zip(guesses.labels, guesses.probabilities, strict=True), strict=True))

    def _joined(self, plan: _Plan) -> Labeled | None:
        """What was known and what is new, in the order of the chunk."""
        # Of the same content as an image of an earlier chunk, which was not known yet when this was planned.
        later = self.store.known(self.labeler, list(set(plan.keys) - plan.known.keys()))
        said = {**plan.known, **later}
        rows = [row for row, key in enumerate(plan.keys) if key in said]
        if not rows:
            return None
        guesses = [said[plan.keys[row]] for row in rows]
        num_classes = self.store.num_classes(self.labeler)
        assert num_classes is not None
        labels, probabilities = (np.stack(values) for values in zip(*guesses, strict=True))
        return plan.indices[rows], Guesses(labels, probabilities, num_classes)

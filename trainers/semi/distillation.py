"""Distillation on images without labels: the teacher's softened word in every batch."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from augsearch.policies import Semi
from augsearch.trainers.training.batch import UnlabeledBatch
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.losses import softened
from augsearch.trainers.training.technique import Find, logits_of


def ask_teacher(teacher: nn.Module, semi: Semi, learner: Learner) -> Find:
    """The teacher says, of the very views that the student learns from."""

    def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
        logits = logits_of(teacher, batch.images, parts, learner.precision)
        return replace(batch, targets=softened(logits, semi.temperature))

    return find

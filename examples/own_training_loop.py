"""A policy in a training loop of your own: a data set, a DataLoader, plain PyTorch.

    python examples/own_training_loop.py images.npz --policy policy.json

``images.npz`` holds ``images`` (N, H, W[, C]) and ``labels`` (N,), as for ``augsearch run``. Without
``--policy`` it trains under RandAugment (2, 9).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from augsearch.policies import Policy
from augsearch.policies.tensor import TensorMixing
from augsearch.policies.transforms import ImageTransform


class Images(Dataset[tuple[Tensor, int]]):
    """Images and labels; ``transform`` is what a policy makes, or None."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], transform: ImageTransform | None
    ) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]  # uint8 (H, W, C)
        if self.transform is not None:
            image = self.transform(image)  # the same type, shape and dtype
        return torch.from_numpy(image).permute(2, 0, 1), int(self.labels[index])


def network(channels: int, classes: int) -> nn.Module:
    """Any network will do."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)),
    )


def main() -> None:
    """Train on four fifths of the images, under the policy; test on the others, without it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--policy", help="what augsearch export wrote")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()

    with np.load(asked.data) as file:
        known = file["labels"] >= 0
        images, labels = file["images"][known], file["labels"][known]
    images = images if images.ndim == 4 else images[..., np.newaxis]  # grey images have a channel too
    classes = int(labels.max()) + 1
    policy = Policy.load(asked.policy) if asked.policy else Policy(num_ops=2, magnitude=9)

    torch.manual_seed(0)
    order = torch.randperm(len(labels)).tolist()
    held_out, rest = order[: len(order) // 5], order[len(order) // 5 :]
    # One stream of random numbers for each worker, which follows from the seed and from torch.manual_seed.
    training = Subset(Images(images, labels, policy.transform(seed=0)), rest)
    testing = Subset(Images(images, labels, transform=None), held_out)
    loader = DataLoader(training, batch_size=64, shuffle=True, num_workers=asked.workers)

    # CutMix or MixUp, if the policy has it, goes with the labels, so it is for whole batches.
    mix = None if policy.mixing is None else TensorMixing(policy.mixing, classes=classes, seed=0)
    model = network(images.shape[-1], classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(1, asked.epochs + 1):
        losses = []
        for batch, classes_of in loader:
            target = F.one_hot(classes_of, classes).float()
            if mix is not None:
                batch, target = mix(batch, classes_of)  # still uint8; the target is now probabilities
            loss = F.cross_entropy(model(batch.float() / 255), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}")

    model.eval()
    right = 0
    with torch.no_grad():
        for batch, classes_of in DataLoader(testing, batch_size=256):
            right += int((model(batch.float() / 255).argmax(1) == classes_of).sum())
    print(f"accuracy on {len(held_out)} other images: {100 * right / len(held_out):.1f} %")


if __name__ == "__main__":
    main()

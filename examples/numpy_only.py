"""Policies applied to NumPy arrays: no PyTorch is imported, nothing is trained, whatever your framework is.

    python examples/numpy_only.py photo.jpg --policy policy.json -o augmented.png

Writes a sheet of 16 augmentations of the photo, and shows what a batch and its labels become.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from augsearch.policies import Mixing, Policy


def main() -> None:
    """Augment one image many times, then a batch, then mix the batch with its labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--policy", default="trivialaugment", help="what augsearch export wrote, or a name")
    parser.add_argument("-o", "--output", default="augmented.png")
    asked = parser.parse_args()
    policy = Policy.load(asked.policy)

    read = cv2.imread(asked.photo, cv2.IMREAD_COLOR_RGB)  # policies work on RGB, not on OpenCV's BGR
    if read is None:
        raise SystemExit(f"{asked.photo}: no image")
    photo = cv2.resize(read, (128, 128), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    # One image a call: for whatever loads images one by one. The same seed gives the same pixels.
    augment = policy.transform(seed=0)
    tiles = [augment(photo) for _ in range(16)]
    sheet = np.vstack([np.hstack(tiles[row : row + 4]) for row in range(0, 16, 4)])
    cv2.imwrite(asked.output, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    print(f"{asked.output}: 16 draws of {policy.num_ops} operations, magnitude {policy.magnitude}")

    # A batch a call, uint8 (B, H, W, C): several times as fast for small images.
    batch = np.stack([photo, np.flipud(photo), np.fliplr(photo), 255 - photo])
    augmented = policy.batch_transform(seed=0)(batch)
    print(f"batch: {augmented.shape} {augmented.dtype}")

    # CutMix also says how much of each label is left.
    labels = np.array([0, 1, 2, 3])
    mix = Mixing(kind="cutmix", alpha=1.0).batch_transform(classes=4, seed=0)
    mixed, probabilities = mix(augmented, labels)
    print(f"mixed: {mixed.shape} {mixed.dtype}, labels as probabilities:")
    print(np.array2string(probabilities, precision=2))


if __name__ == "__main__":
    main()

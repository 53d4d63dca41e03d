"""Make ``fashion_mnist_small.npz``, the data set that comes with augsearch.

It takes 6,000 of Fashion-MNIST's 70,000 images, the same number of every class: the first of each class in
the order of the original files. The test split is drawn from the original test file, all others from the
original training file. Nothing is random, so the same source always gives the same arrays.

Run it as ``python -m augsearch.trainers.data.embedded.make_fashion_mnist_small``.
"""

import argparse
import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import Split

SOURCE = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
SPLITS = (
    (Split.TRAIN, "train", 100),
    (Split.VALIDATION, "train", 150),
    (Split.UNLABELED, "train", 150),
    (Split.TEST, "t10k", 200),
)
"""Split, original file, images of each class. Those from one file follow each other, so none overlap."""


def make(source: Path) -> dict[str, NDArray[Any]]:
    """Choose the images.

    Args:
        source: the folder of the four original ``.gz`` files.

    Returns:
        ``images`` uint8 (6000, 28, 28); ``labels`` int8 (6000,), -1 where unlabeled; ``parts`` uint8 (6000,),
        codes of ``Split``; ``classes``, 10 names; and ``unlabeled_truth`` int8 (1500,), the labels of the
        unlabeled images, which opening the data set does not read.
    """
    files = {
        name: (_read(source, name, "images"), _read(source, name, "labels")) for name in ("train", "t10k")
    }
    used = dict.fromkeys(files, 0)
    images, labels, splits = [], [], []
    for split, name, each in SPLITS:
        pictures, numbers = files[name]
        of_class = [np.flatnonzero(numbers == label) for label in range(len(CLASSES))]
        chosen = np.sort(np.concatenate([own[used[name] : used[name] + each] for own in of_class]))
        used[name] += each
        images.append(pictures[chosen])
        labels.append(numbers[chosen].astype(np.int8))
        splits.append(np.full(len(chosen), split, np.uint8))
    truth, codes = np.concatenate(labels), np.concatenate(splits)
    unlabeled = codes == Split.UNLABELED
    return {
        "images": np.concatenate(images),
        "labels": np.where(unlabeled, np.int8(-1), truth),
        "parts": codes,
        "classes": np.array(CLASSES),
        "unlabeled_truth": truth[unlabeled],
    }


def _read(source: Path, name: str, what: str) -> NDArray[np.uint8]:
    """Read one of the original files, in the format idx: a header of big-endian numbers, then bytes."""
    dimensions = 3 if what == "images" else 1
    content = gzip.decompress((source / f"{name}-{what}-idx{dimensions}-ubyte.gz").read_bytes())
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(description="Make fashion_mnist_small.npz.")
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the four original .gz files")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("fashion_mnist_small.npz"))
    arguments = parser.parse_args()
    if not (arguments.source / "train-images-idx3-ubyte.gz").exists():
        sys.exit(
            f"there is no Fashion-MNIST in {arguments.source}: install Debian's package "
            "dataset-fashion-mnist, or download the four .gz files named at "
            "https://github.com/zalandoresearch/fashion-mnist and give their folder with --source"
        )
    arrays = make(arguments.source)
    np.savez_compressed(arguments.output, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()

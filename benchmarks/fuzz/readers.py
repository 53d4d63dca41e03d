"""What reads strangers' files: each reader with valid ones to begin from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import PolicyFile, UserError, read_policy
from augsearch.policies.exchange.form import forms, recognised, written
from augsearch.trainers.data.image_files import BadImageError

REFUSED = (UserError, BadImageError)
"""How a reader says that a file is none of its kind."""

Read = Callable[[bytes], object]
"""Reads content; raises ``UserError`` or ``BadImageError`` where it is none."""
IMAGE_SIDE, LARGEST = 32, 10**6
"""Pixels of a decoded image, and the most that one may have."""


@dataclass(frozen=True)
class Reader:
    """One kind of file."""

    name: str
    whole: tuple[bytes, ...]
    """Valid files."""
    read: Read


def readers(folder: Path) -> list[Reader]:
    """All of them; files that they read lie in ``folder`` while they do."""
    made = (_policies, _foreign_policies, _settings, _tables, _images, _model_cards, _models, _served)
    return [make(folder) for make in made]


_READY = (
    "flip-crop+randaugment(2,9)",
    "augmix",
    "3-augment",
    "autoaugment-imagenet",
    "none",
)


def _policies(folder: Path) -> Reader:
    file = folder / "policy.json"
    whole = tuple(read_policy(name).model_dump_json(indent=1).encode() for name in _READY)
    return Reader("policy files", whole, lambda content: read_policy(_put(file, content)))


def _foreign_policies(_: Path) -> Reader:
    texts = ["rand-m9-n2-mstd0.5-inc1", "--aa original-mstd0.5 --mixup 0.2 --reprob 0.25 --hflip 0.5"]
    for form in forms().values():
        if form.read is not None:
            text = written(PolicyFile(policy=read_policy(_READY[0]).policy), form, approximate=True).text
            texts.append(form.head(text, []))

    def read(content: bytes) -> object:
        text = content.decode("utf-8", "replace")
        form = recognised(text)
        return form.read(text) if form is not None and form.read is not None else None

    return Reader("forms of other libraries", tuple(map(str.encode, texts)), read)


def _settings(folder: Path) -> Reader:
    from augsearch.search.settings.files import load_settings, show_settings
    from augsearch.search.settings.settings import Settings

    file, budgeted = folder / "settings.toml", Settings.of(budget="10m", trials=30, operations="wide")
    whole = tuple(show_settings(one).encode() for one in (Settings(), budgeted))
    return Reader("settings", whole, lambda content: load_settings(_put(file, content), {}))


def _tables(folder: Path) -> Reader:
    from augsearch.trainers.data.form import Form
    from augsearch.trainers.data.sources.manifests import read_manifest

    image = folder / "a b.png"
    image.write_bytes(_as("PNG", _picture(3)))
    csv = b'file,label,split,patient\na b.png,cat,train,1\na b.png,dog,test,2\n"a b.png",cat,,3\n'
    lines = b"\n".join(json.dumps({"image": "a b.png", "label": name}).encode() for name in "xyz")

    def read(content: bytes) -> object:
        suffix = "tsv" if b"\t" in content else "jsonl" if b"{" in content else "csv"
        return read_manifest(_put(folder / f"table.{suffix}", content), Form())

    return Reader("tables", (csv, csv.replace(b",", b"\t"), lines), read)


def _images(folder: Path) -> Reader:
    import tifffile

    from augsearch.trainers.data.decode import decode_file, decode_shrunk, size_of
    from augsearch.trainers.data.form import Reading

    bands, tiff, array = _picture(6), io.BytesIO(), io.BytesIO()
    tifffile.imwrite(tiff, bands, photometric="minisblack", planarconfig="contig")
    np.save(array, bands)
    names = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA")
    pictures = [_as(name, _picture(channels)) for name in names for channels in (1, 3)]
    file, reading = folder / "image", Reading(max_pixels=LARGEST)
    every = Reading(max_pixels=LARGEST, bands="all", fit="pad")

    def read(content: bytes) -> object:
        _put(file, content)
        return _each(
            *(partial(size_of, one, reading) for one in (content, file)),
            partial(decode_file, content, IMAGE_SIDE, reading),
            partial(decode_shrunk, file, IMAGE_SIDE, reading),
            partial(decode_file, file, IMAGE_SIDE, every),
        )

    return Reader("images", (*pictures, tiff.getvalue(), array.getvalue()), read)


def _model_cards(folder: Path) -> Reader:
    from augsearch.trainers.models.spec import read_card

    model = _model(folder / "carded")
    card = model.with_suffix(".json")

    def read(content: bytes) -> object:
        card.write_bytes(content)
        return read_card(model)

    return Reader("model cards", (card.read_bytes(),), read)


def _models(folder: Path) -> Reader:
    from augsearch.trainers.models.saved import load_model

    model = _model(folder / "weights")
    # The header and the first weights: damage further on makes other weights, and no other file.
    return Reader("weights", (model.read_bytes(),), lambda content: load_model(_put(model, content)))


def _served(folder: Path) -> Reader:
    from pandas import DataFrame

    from augsearch.search.serving import IMAGE, Served
    from augsearch.trainers.evaluation.classifier import Classifier

    served = Served(Classifier.load(_model(folder / "served"), "cpu"))
    whole = tuple(_as(name, _picture(3)) for name in ("JPEG", "PNG", "GIF", "BMP"))

    def read(content: bytes) -> object:
        return served.predict(DataFrame({IMAGE: [content]}))

    return Reader("what a served model is asked", whole, read)


def _model(folder: Path) -> Path:
    """A small untrained model."""
    from augsearch.trainers.models.build import build_model, design
    from augsearch.trainers.models.saved import save_model

    folder.mkdir()
    spec = design(
        "tiny",
        channels=3,
        image_size=IMAGE_SIDE,
        classes=("a", "b", "c"),
        statistics=((0.5,) * 3, (0.25,) * 3),
    )
    save_model(build_model(spec, seed=0), spec, folder / "model.safetensors", {})
    return folder / "model.safetensors"


def _picture(channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 24, channels), dtype=np.uint8)


def _as(name: str, pixels: NDArray[np.uint8]) -> bytes:
    written_to = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(written_to, name)
    return written_to.getvalue()


def _each(*reads: Callable[[], object]) -> object:
    """What the last of ``reads`` gave; all are tried, and then the first that refused has its say."""
    refusals, found = [], None
    for read in reads:
        try:
            found = read()
        except REFUSED as refused:
            refusals.append(refused)
    if refusals:
        raise refusals[0]
    return found


def _put(file: Path, content: bytes) -> Path:
    file.unlink(missing_ok=True)  # to write over a file waits for the disk
    file.write_bytes(content)
    return file

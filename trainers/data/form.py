"""In which form a data set is given: what its folders or columns mean, and how its pixels are read.

Free of Pillow, because whoever maps a decoded data set reads this too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Fit = Literal["crop", "pad", "squash"]
"""What makes an image square: the middle is kept, the background is put round it, or it is squeezed."""

Bands = Literal["all"] | tuple[Annotated[int, Field(ge=1)], ...]
"""Which channels of an image are used, counted from 1, in this order: of 4, 3, 2 the first is shown red."""


Range = tuple[float, float]
"""What becomes black and white."""
BY_BAND: Literal["band"] = "band"

ValueRange = Literal["band"] | Range | Annotated[tuple[Range, ...], Field(min_length=1)]
"""One for all bands; one for each that is used, in their order; ``band``: so, and found in the images."""


class Reading(BaseModel):
    """How an image file becomes a square of 8-bit pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    background: tuple[int, int, int] = (255, 255, 255)
    """RGB of what lies behind transparent pixels, round a padded image, and where nothing was measured."""
    value_range: ValueRange | None = None
    """What becomes 0 and 255 where pixels have more than 8 bits; None: the whole range of their type."""
    max_pixels: int | None = None
    """How many an image may have; None: as many as Pillow allows, 89 million."""
    fit: Fit = "crop"
    bands: Bands | None = None
    """None: grey, RGB and RGBA are colours, and of any other image all channels are bands."""


class Layout(BaseModel):
    """What names of folders or columns mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Literal["top", "leaf"] = "top"
    """Which folders are the classes: the first below the part, or those that images lie in."""
    root: Path | None = None
    """The folder that a manifest's paths begin at."""
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    weight_column: str | None = None


class Form(BaseModel):
    """In which form a data set is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout = Layout()
    reading: Reading = Reading()

    def asked(self) -> dict[str, Any]:
        """What is not as usual, as plain values by field; empty where all is."""
        layout = self.layout.model_dump(mode="json", exclude_defaults=True)
        return layout | self.reading.model_dump(mode="json", exclude_defaults=True)


MANIFESTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of tables that name files and labels."""


def is_manifest(source: str) -> bool:
    """Whether a data set of this name is a table, by its suffix."""
    return Path(source).suffix.lower() in MANIFESTS


AS_USUAL = Reading()
AS_FOUND = Layout()
PLAIN = Form()
"""A data set of which nothing is said."""

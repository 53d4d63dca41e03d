"""The settings of the data: which images, what their names mean, and how they become pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from augsearch.search.settings.sections import Flat, Section, Side
from augsearch.trainers.data.form import Fit, Form, Layout, Reading
from augsearch.trainers.data.written import bands_of, check_expression, colour_of, range_of

_WRITTEN: dict[str, Callable[[str], object]] = {
    "background": colour_of,
    "value_range": range_of,
    "bands": bands_of,
    "group_by": check_expression,
}
"""Settings that are text which has to mean something, and what reads it."""


class DataSettings(Section):
    """Which images, and how they are divided."""

    source: Annotated[str | None, Flat("data")] = None
    """A folder, an .npz file, a table, ``torchvision:NAME``; None: the embedded Fashion-MNIST subset."""
    validation: Path | None = None
    """Labeled images from where the model will be used, to optimise for; None: some of the data's own."""
    image_size: Side | None = None
    """Side in pixels to which images are decoded; None: the images' own, at most 64."""
    limit: int | None = Field(default=None, ge=2)
    """At most this many training images, stratified; None: all."""
    skip_bad_images: bool = False
    min_per_class: int | None = Field(default=None, ge=2)
    """Classes with fewer images to train on are left out, or merged; None: each must have enough."""
    rare_classes: Literal["drop", "merge"] | None = None
    """What becomes of those: left out, or one class ``other``; None: left out."""
    classes: Literal["top", "leaf"] = "top"
    """Which folders are classes: the first, or those that images lie in."""
    root: Path | None = None
    """The folder that a table's paths begin at; None: the table's own, or one beside it that has them."""
    image_column: str | None = None
    """Of a table; None: found by its name and what is in it. So are the next two."""
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    """Images of the same group stay together; None: each stands alone."""
    weight_column: str | None = None
    """Of a table: how much an image counts in a training's loss, and not in any score; None: all alike."""
    group_by: str | None = None
    """A regular expression that finds the group in an image's path."""
    fit: Fit = "crop"
    """How images become square."""
    background: str = "white"
    """What lies behind transparent pixels, and is shown where nothing was measured."""
    value_range: str | None = None
    """What becomes black and white, of pixels with more than 8 bits: a pair, one a band, or ``band``, which
    finds one for each; None: found in the images."""
    bands: str | None = None
    """Which channels of an image are used, as in ``4,3,2``, or ``all``; None: those of a picture."""
    max_pixels: int | None = Field(default=None, ge=1)
    """How many an image may have; None: 89 million."""

    @field_validator(*_WRITTEN)
    @classmethod
    def _can_be_read(cls, written: str | None, about: ValidationInfo) -> str | None:
        if written is not None and about.field_name is not None:
            _WRITTEN[about.field_name](written)
        return written

    @property
    def form(self) -> Form:
        """In which form the data set is given."""
        names = tuple(Layout.model_fields)
        reading = Reading(
            background=colour_of(self.background),
            value_range=None if self.value_range is None else range_of(self.value_range),
            bands=None if self.bands is None else bands_of(self.bands),
            max_pixels=self.max_pixels,
            fit=self.fit,
        )
        return Form(layout=Layout(**{name: getattr(self, name) for name in names}), reading=reading)

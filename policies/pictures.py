"""PIL images as arrays and back, through the memory that PIL keeps them in where it shows it.

``np.asarray`` has PIL write all pixels into Python's bytes, and ``Image.fromarray`` read them from there: at
224 × 224 pixels 24 µs each way, where a policy takes 50. From Pillow 11.2 on an image exports its memory in
Arrow's form: pixels of four bytes, of which the last one means nothing.
"""

from __future__ import annotations

import ctypes
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies.errors import UserError

LARGEST_OF_16_BITS = 65535


class _Exported(ctypes.Structure):
    """Arrow's ``struct ArrowArray`` (Arrow's C data interface)."""


_Exported._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Exported))),
    *((name, ctypes.c_void_p) for name in ("dictionary", "release", "private_data")),
]

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_memory_from = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_from.restype = ctypes.py_object
_memory_from.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_WRITEABLE = 0x200
"""Python's ``PyBUF_WRITE``."""


def array_of(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an image of mode RGB or L: (H, W, 3) or (H, W), a copy of their own where it is RGB."""
    image.load()
    exported = _exported(image) if image.mode == "RGB" else None
    if exported is None:
        return np.asarray(image)
    width, height = image.size
    copied: Any = cv2.cvtColor(_memory(exported, height, width), cv2.COLOR_RGBA2RGB)
    return copied  # type: ignore[no-any-return]


def image_of(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image of its own from pixels (H, W, 3), (H, W, 1) or (H, W)."""
    if pixels.shape[2:] == (1,):
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3:
        height, width, _ = pixels.shape
        image = Image.new("RGB", (width, height), None)  # nothing is written into it
        exported = _exported(image)
        if exported is not None:
            cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA, _memory(exported, height, width))
            return image
    return Image.fromarray(pixels)


_EXPORTS = hasattr(Image.Image, "__arrow_c_array__")
"""Whether this Pillow shows the memory of its images."""


def _exported(image: Image.Image) -> Any:
    """What keeps the memory of a loaded RGB image in place; None: it is not shown."""
    if not _EXPORTS or 0 in image.size:
        return None
    try:
        return image.im.__arrow_c_array__()
    except ValueError:  # so large that its rows do not lie one after the other
        return None


def _memory(exported: Any, height: int, width: int) -> NDArray[np.uint8]:
    """The memory of an RGB image, (H, W, 4), as long as ``exported`` is held."""
    described = _Exported.from_address(_pointer_of(exported, b"arrow_array"))
    begin = described.children[0].contents.buffers[1]
    memory = _memory_from(begin, height * width * 4, _WRITEABLE)
    return np.ndarray((height, width, 4), np.uint8, memory)


def is_deep(mode: str) -> bool:
    """Whether an image of PIL's of this mode has one channel of more than 8 bits."""
    return mode.startswith("I;16") or mode in ("I", "F")


def values_of(image: Image.Image) -> NDArray[Any]:
    """The pixels (H, W) of an image for which ``is_deep``: uint16, or float32 where its mode is F.

    Raises:
        UserError: its mode is I, and its values are not such as 16 bits have.
    """
    values = np.asarray(image)
    if image.mode != "I":
        return values
    if values.size and not (values.min() >= 0 and values.max() <= LARGEST_OF_16_BITS):
        raise UserError(
            f"a PIL image of mode I must have values from 0 to 65,535, got {values.min()} to {values.max()}"
        )
    return values.astype(np.uint16)


def of_mode(values: NDArray[Any], mode: str) -> Image.Image:
    """An image of a mode for which ``is_deep`` from its pixels, as ``values_of`` gives them."""
    return Image.fromarray(values.astype(np.int32) if mode == "I" else values)

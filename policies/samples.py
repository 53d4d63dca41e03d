"""Samples as ``torchvision.transforms.v2`` has them: masks, boxes and key points move with their image.

A warp is a matrix, so it is as exact for a point as for a pixel. Nothing of torch is imported here: whoever
gives a tensor has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from augsearch.policies.backends.opencv.warps import prepare_warp
from augsearch.policies.effects import Matrix, Size, Warp
from augsearch.policies.errors import UserError, shown
from augsearch.policies.planner import CodedDraw, DrawnImage
from augsearch.policies.sampling import Border, Sampling

Points = NDArray[np.float64]
"""(..., 2): x to the right, y down."""

NEAREST_POINT = 1e-6
"""The least share of its distance at which a point seen in perspective is drawn."""


class KnowsGeometry(Protocol):
    """A runner, as far as it is asked here."""

    border: Border

    def warps(self, drawn: CodedDraw) -> list[Warp]:
        """The geometry of what was drawn, in order."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What happens to places in an image of ``size``: warps, one after the other."""

    size: Size
    warps: list[Warp]
    border: Border

    def moved(self, points: Points, centre: tuple[float, float]) -> Points:
        """Where ``points`` are afterwards; ``centre`` (x, y) is the image's in their coordinates."""
        matrix: Matrix = np.eye(3)
        for warp in self.warps:
            matrix = matrix @ warp.matrix
        # A warp says where a pixel is read from; a point goes the other way.
        forward = np.linalg.inv(matrix)
        across = np.concatenate((points - centre, np.ones((*points.shape[:-1], 1))), axis=-1) @ forward.T
        moved: Points = across[..., :2] / np.maximum(across[..., 2:], NEAREST_POINT) + centre
        return moved

    def read(self, planes: NDArray[Any]) -> NDArray[Any]:
        """``planes`` (..., H, W), of any type, each pixel read where the image's nearest sampling reads it.

        What comes from outside the image is 0, or mirrored where the image is.
        """
        if not self.warps:
            return planes.copy()
        rows, columns, inside = self._source()
        return np.where(inside, planes[..., rows, columns], np.zeros((), planes.dtype))

    def _source(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """The row and the column that each pixel is read from, and whether it is read at all."""
        # The coordinates are warped as if they were colours: low and high byte, and a mark for the inside.
        sampling = Sampling("nearest", self.border, (0, 0, 0))
        found = []
        inside = np.ones(self.size, dtype=bool)
        for coordinate in np.indices(self.size):
            image = np.stack((coordinate & 255, coordinate >> 8, np.ones_like(coordinate)), axis=2)
            pixels = np.ascontiguousarray(image, dtype=np.uint8)
            for warp in self.warps:
                # Without what enlarged parts are read by: a coordinate between two is none.
                pixels = prepare_warp(Warp(warp.matrix), self.size, 3, sampling).on_image(pixels)
            low, high, marks = np.moveaxis(pixels.astype(np.int64), 2, 0)
            found.append(low + 256 * high)
            inside = marks > 0
        return found[0], found[1], inside


def augment_sample(
    sample: tuple[Any, ...],
    drawn: DrawnImage,
    augment_image: Callable[[Any, DrawnImage], Any],
    runner: Callable[[tuple[int, ...]], KnowsGeometry],
) -> tuple[Any, ...]:
    """A new sample: its images by ``augment_image``, what lies in them moved with them, all else as it is.

    Raises:
        UserError: there is no image, or something that can't be moved with it.
    """
    leaves = list(_leaves(sample))
    images = [leaf for leaf in leaves if _is_marked_image(leaf)]
    if not images:
        images = [leaf for leaf in leaves if is_tensor(leaf) and _kind(leaf) is None and leaf.ndim >= 2][:1]
    if not images:
        images = [leaf for leaf in leaves if isinstance(leaf, np.ndarray) and leaf.ndim >= 2][:1]
    if not images:
        given = ", ".join(type(one).__name__ for one in sample) or "nothing"
        raise UserError(f"an image must be a NumPy array, a PIL image or a torch tensor, got {given}")
    sizes = {_size_of(image) for image in images}

    def changed(leaf: Any) -> Any:
        if any(leaf is image for image in images):
            return augment_image(leaf, drawn)
        refuse_other_tv_tensors(leaf, allowed=tuple(_MOVED))
        kind = _kind(leaf)
        if kind is None:
            _refuse_unmarked(leaf, sizes)
            return leaf
        size = Size(*leaf.shape[-2:]) if kind == "Mask" else Size(*leaf.canvas_size)
        if size not in sizes:
            raise UserError(
                f"{kind} of {size.height} × {size.width} pixels, but the image has "
                f"{' or '.join(f'{height} × {width}' for height, width in sorted(sizes))}"
            )
        if drawn.mixture is not None:
            raise UserError(
                f"the policy's chains mix an image with copies that were moved, so no {kind} moves with it"
            )
        of = runner((*size, 3))
        return _MOVED[kind](leaf, Geometry(size, of.warps(drawn.coded), of.border))

    return tuple(_mapped(changed, one) for one in sample)


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is a torch tensor."""
    torch = sys.modules.get("torch")  # not loaded: no tensor
    return torch is not None and isinstance(value, torch.Tensor)


def refuse_other_tv_tensors(value: Any, allowed: tuple[str, ...] = ()) -> None:
    """Refuse what torchvision marks as something that is no image and not ``allowed``.

    Raises:
        UserError: it is such a thing.
    """
    kind = _kind(value)
    if kind is None or kind == "Image" or kind in allowed:
        return
    if kind == "Video":
        raise UserError("a Video can't be augmented by a policy of images; give its frames, one by one")
    raise UserError(
        f"{kind} without an image can't be augmented; give both together: transform(image, {kind.lower()})"
    )


def _kind(value: Any) -> str | None:
    """The name of the ``tv_tensors`` class of ``value``; None where it has none."""
    known = sys.modules.get("torchvision.tv_tensors")
    if known is None or not isinstance(value, known.TVTensor):
        return None
    return next(
        (kind.__name__ for kind in type(value).__mro__ if kind.__module__.startswith(known.__name__)), None
    )


def _is_marked_image(leaf: Any) -> bool:
    return isinstance(leaf, PILImage.Image) or _kind(leaf) == "Image"


def _size_of(image: Any) -> Size:
    if isinstance(image, PILImage.Image):
        return Size(image.height, image.width)
    return Size(*(image.shape[:2] if isinstance(image, np.ndarray) else image.shape[-2:]))


def _refuse_unmarked(leaf: Any, sizes: set[Size]) -> None:
    """Refuse what may be a mask: to leave it as it is would be wrong, and nobody would see it."""
    if not isinstance(leaf, np.ndarray) and not is_tensor(leaf):
        return
    if leaf.ndim >= 2 and {Size(*leaf.shape[:2]), Size(*leaf.shape[-2:])} & sizes:
        raise UserError(
            f"beside the image there is {shown(leaf)}, of the same height and width; a mask must be "
            "a torchvision.tv_tensors.Mask, an image a tv_tensors.Image; else keep it out of the transform"
        )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """``value``, a nest of dictionaries, lists and tuples, with every leaf changed."""
    if isinstance(value, Mapping):
        changed = {key: _mapped(change, inner) for key, inner in value.items()}
        return changed if type(value) is dict else type(value)(changed)  # type: ignore[call-arg]
    if isinstance(value, tuple | list):
        inside = [_mapped(change, inner) for inner in value]
        return type(value)(*inside) if hasattr(value, "_fields") else type(value)(inside)
    return change(value)


def _moved_mask(mask: Any, geometry: Geometry) -> Any:
    torch, wrapped = sys.modules["torch"], _rewrap(mask)
    return wrapped(torch.from_numpy(geometry.read(_array(mask))))


def _moved_key_points(points: Any, geometry: Geometry) -> Any:
    # As in torchvision, a key point is the index of a pixel. One that leaves the image stays outside.
    centre = (geometry.size.width - 1) / 2, (geometry.size.height - 1) / 2
    return _rewrap(points)(_like(geometry.moved(_array(points).astype(np.float64), centre), points))


def _moved_boxes(boxes: Any, geometry: Geometry) -> Any:
    form = boxes.format.value
    if form not in _TO_CORNERS:
        raise UserError(f"boxes of format {form} can't be moved; give XYXY, XYWH or CXCYWH")
    height, width = geometry.size
    left, top, right, bottom = _TO_CORNERS[form](_array(boxes).astype(np.float64).T)
    corners = np.stack(
        [np.stack(corner, axis=-1) for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]
    )
    moved = geometry.moved(corners, (width / 2, height / 2))
    low, high = moved.min(axis=0), moved.max(axis=0)
    if boxes.clamping_mode is not None:
        low, high = low.clip(0, (width, height)), high.clip(0, (width, height))
    return _rewrap(boxes)(_like(np.stack(_FROM_CORNERS[form](*low.T, *high.T), axis=-1), boxes))


_TO_CORNERS: dict[str, Callable[[Points], tuple[Any, Any, Any, Any]]] = {
    "XYXY": lambda box: (box[0], box[1], box[2], box[3]),
    "XYWH": lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3]),
    "CXCYWH": lambda box: (
        *(box[0] - box[2] / 2, box[1] - box[3] / 2),
        *(box[0] + box[2] / 2, box[1] + box[3] / 2),
    ),
}
_FROM_CORNERS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "XYXY": lambda left, top, right, bottom: (left, top, right, bottom),
    "XYWH": lambda left, top, right, bottom: (left, top, right - left, bottom - top),
    "CXCYWH": lambda left, top, right, bottom: (
        *((left + right) / 2, (top + bottom) / 2),
        *(right - left, bottom - top),
    ),
}


_MOVED: dict[str, Callable[[Any, Geometry], Any]] = {
    "Mask": _moved_mask,
    "BoundingBoxes": _moved_boxes,
    "KeyPoints": _moved_key_points,
}


def _array(tensor: Any) -> NDArray[Any]:
    torch = sys.modules["torch"]
    array: NDArray[Any] = tensor.detach().cpu().as_subclass(torch.Tensor).numpy()
    return array


def _like(numbers: NDArray[np.float64], tensor: Any) -> Any:
    """Numbers as a tensor of the type of ``tensor``, rounded where that is whole."""
    torch = sys.modules["torch"]
    values = numbers if tensor.is_floating_point() else np.rint(numbers)
    return torch.from_numpy(np.ascontiguousarray(values)).to(tensor.dtype)


def _rewrap(tensor: Any) -> Callable[[Any], Any]:
    wrap = sys.modules["torchvision.tv_tensors"].wrap
    return lambda plain: wrap(plain.to(tensor.device), like=tensor)

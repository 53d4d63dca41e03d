"""Weights from a file or a hub → a network that may have another last layer."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.policies.errors import first_line, some
from augsearch.trainers.models.layers import heads_of

NESTS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "state_dict_ema",
    "model_ema",
    "model",
    "net",
    "weights",
)
"""Under which keys training frameworks keep a network's tensors."""

WRAPPERS = ("module.", "_orig_mod.", "model.", "network.", "net.", "backbone.", "encoder.")
"""What DataParallel, torch.compile, Lightning and the like put before every name."""

LEAST = 0.75
"""The share of the backbone's tensors that must fit; with fewer they are weights for another network.

Of a ResNet-34's 55 % are named and shaped like a ResNet-18's.
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded and what was not."""

    tensors: int
    """How many of the network's tensors were loaded."""
    of: int
    """How many tensors the network has."""
    by_order: bool
    """Whether the names differ, and tensors were taken in their order because all shapes agree."""
    fresh: tuple[str, ...]
    """Names of the network's tensors that were not loaded, so have fresh values."""
    unused: tuple[str, ...]
    """Names of the given tensors that found no place."""
    source: str = ""
    """Where they come from, in words."""

    def describe(self) -> str:
        """One line for a person."""
        how = ", by their order" if self.by_order else ""
        source = f" from {self.source}" if self.source else ""
        words = f"{self.tensors} of {self.of} tensors loaded{source}{how}"
        if self.fresh:
            words += f"; fresh: {some(self.fresh, 4)}"
        if self.unused:
            words += f"; not used: {some(self.unused, 4)}"
        return words


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a ``.safetensors`` file, or in one that ``torch.save`` wrote; no code in it is run.

    Raises:
        UserError: there is no such file, or it has no tensors, or only together with Python objects.
    """
    if not path.is_file():
        raise UserError(f"weights {path}: no such file")
    try:
        found = dict(load_file(path)) if path.suffix == ".safetensors" else _unpickled(path)
    except pickle.UnpicklingError:
        raise UserError(
            f"weights {path}: holds Python objects, which could run any code; save the model's state_dict() "
            "alone, best as .safetensors"
        ) from None
    except Exception as error:  # of a spoilt file the reader raises anything, from KeyError to AssertionError
        reason = first_line(error) or type(error).__name__
        raise UserError(f"weights {path}: not a file of weights ({reason})") from None
    if not found:
        raise UserError(f"weights {path}: holds no named tensors")
    return found


def _unpickled(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        start = file.read(2)
    if start != b"PK" and not start.startswith(pickle.PROTO):
        raise ValueError("neither a zip archive nor a pickle")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles that something else than torch.save wrote
        return _tensors(torch.load(path, map_location="cpu", weights_only=True))


def _tensors(document: Any) -> dict[str, Tensor]:
    if not isinstance(document, Mapping):
        return {}
    for nest in NESTS:
        if isinstance(document.get(nest), Mapping):
            return _tensors(document[nest])
    return {str(name): value for name, value in document.items() if isinstance(value, Tensor)}


def load_weights(network: nn.Module, given: Mapping[str, Tensor], *, keep_head: bool, where: str) -> Loaded:
    """Put ``given`` into ``network`` where names and shapes agree, or by order where only all shapes do.

    The last layer is fresh, and zero if linear, unless ``keep_head``. ``where`` begins an error's message.

    Raises:
        UserError: too few of the backbone's tensors fit, or there are many more: they are weights for
            another network.
    """
    own = _counting_no_batches(network.state_dict())
    heads = heads_of(network)
    head = {name for name in own if name.startswith(tuple(f"{one}." for one, _ in heads))}
    wanted = {name: tensor for name, tensor in own.items() if keep_head or name not in head}
    renamed = _without_wrappers(_counting_no_batches(given), wanted)
    chosen = {name: renamed[name] for name in wanted if _fits(renamed.get(name), wanted[name])}
    by_order = False
    in_order = _by_order(own, renamed, head)
    if len(chosen) < len(wanted) and len(in_order) > len(chosen):
        by_order = True
        chosen = {name: in_order[name] for name in wanted if _fits(in_order[name], wanted[name])}
    backbone = [name for name in own if name not in head]
    found = sum(name in chosen for name in backbone)
    if found < LEAST * len(backbone):
        raise UserError(
            f"{where}: only {found} of the network's {len(backbone)} tensors fit; "
            "these are weights for another network"
        )
    more = [] if by_order else _of_more_layers(renamed, own, head)
    if len(more) > (1 - LEAST) * len(backbone):
        raise UserError(
            f"{where}: {found} of the network's {len(backbone)} tensors fit, but there are {len(more)} of "
            f"layers that it lacks ({some(more, 2)}); these are weights for a larger network"
        )
    network.load_state_dict(chosen, strict=False)
    linear = [] if keep_head else [module for _, module in heads if isinstance(module, nn.Linear)]
    for module in linear:
        # Some networks draw it so large that its first logits swamp what the backbone says; from zeros all
        # classes start alike (Kolesnikov et al. 2020, arXiv:1912.11370, §3.3). SqueezeNet's convolution has a
        # ReLU behind it, which lets no gradient through to zeros.
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
    return Loaded(
        tensors=len(chosen),
        of=len(own),
        by_order=by_order,
        fresh=tuple(name for name in own if name not in chosen),
        unused=() if by_order else tuple(name for name in renamed if name not in chosen),
    )


def _of_more_layers(given: Mapping[str, Tensor], own: Mapping[str, Tensor], head: set[str]) -> list[str]:
    """Names in ``given`` of what the network has no place for, inside containers that it has, as a
    ResNet-34's ``layer3.5`` is. Beside them, as heads and projectors are, there may be anything."""
    containers = {name.partition(".")[0] for name in own if name not in head}
    return [name for name in given if name not in own and name.partition(".")[0] in containers]


def _counting_no_batches(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


def _fits(tensor: Tensor | None, own: Tensor) -> bool:
    return tensor is not None and tensor.shape == own.shape


def _without_wrappers(given: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``given`` with those wrappers taken off, one within another, that make the most names agree."""

    def agreeing(tensors: Mapping[str, Tensor]) -> int:
        return sum(_fits(tensors.get(name), tensor) for name, tensor in wanted.items())

    return max(_unwrapped(given), key=agreeing)


def _unwrapped(given: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """``given``, and it without one wrapper, without two, and so on; it ends because names get shorter."""
    forms = [given]
    while forms:
        yield from forms
        forms = [inside for form in forms for wrapper in WRAPPERS if (inside := _inside(form, wrapper))]


def _inside(form: dict[str, Tensor], wrapper: str) -> dict[str, Tensor]:
    """What is named after ``wrapper``, without it."""
    return {name.removeprefix(wrapper): tensor for name, tensor in form.items() if name.startswith(wrapper)}


def _by_order(own: dict[str, Tensor], given: dict[str, Tensor], head: set[str]) -> dict[str, Tensor]:
    """Pairs in order, if there are as many tensors and all but the last layer's have the same shapes."""
    if len(own) != len(given):
        return {}
    pairs = dict(zip(own, given.values(), strict=True))
    fit = all(name in head or _fits(tensor, own[name]) for name, tensor in pairs.items())
    return pairs if fit else {}

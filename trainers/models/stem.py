"""The first convolution of a hub's network, fitted to images of other than three channels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from augsearch.policies import UserError


def fit_stem(network: nn.Module, channels: int) -> None:
    """Have ``network`` take ``channels`` instead of three: its first convolution gets fresh weights.

    Raises:
        UserError: its first convolution doesn't look at the image's three channels.
    """
    stem = first_convolution(network)
    if stem.in_channels != 3 or stem.groups != 1:
        raise UserError(
            f"{type(network).__name__} takes no images of {channels} bands; choose three with "
            "--bands 4,3,2, or another network"
        )
    shape = (stem.out_channels, channels, *stem.kernel_size)
    stem.in_channels, stem.weight = channels, nn.Parameter(torch.empty(shape))
    stem.reset_parameters()


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """The convolution that an image meets first.

    Raises:
        UserError: there is none.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module
    raise UserError(f"{type(network).__name__} has no convolution that could take other channels")


def fitted_weights(given: Mapping[str, Tensor], stem: nn.Conv2d) -> dict[str, Tensor]:
    """``given`` with the first convolution's weights repeated over as many channels as ``stem`` has.

    They are scaled by 3 / C, so that its outputs stay as large: as timm's ``adapt_input_conv`` does. Tensors
    that fit, those of a network of as many channels, stay as they are.
    """
    outputs, channels, *kernel = stem.weight.shape
    wanted, fitted = (outputs, 3, *kernel), dict(given)
    for name, tensor in given.items():
        if tensor.shape == wanted:
            repeated = tensor.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
            fitted[name] = repeated * (3 / channels)
            break
    return fitted

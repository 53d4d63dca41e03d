"""One small family of networks for short trainings on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from augsearch.trainers.models.names import WIDTHS


class Residual(nn.Module):
    """x + ReLU(BN(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + cast(Tensor, self.body(x))


class GlobalMean(nn.Module):
    """Mean over all places, (B, C, H, W) to (B, C).

    ``AdaptiveAvgPool2d`` hands back a gradient in another memory order, which costs a CPU a tenth of a step.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Average ``x``."""
        return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def layers(name: str, channels: int, side: int, classes: int) -> list[nn.Module]:
    """The layers of the network ``name`` for images of ``channels`` × ``side`` × ``side``.

    The stem halves any image until its side is at most 20, so a larger one costs little more after it.
    """
    width = WIDTHS[name]
    return [
        *_stem(channels, width, side),
        *_convolution(width, 2 * width, pools=[nn.MaxPool2d(2, ceil_mode=True)]),
        *_convolution(2 * width, 4 * width, pools=[nn.MaxPool2d(2, ceil_mode=True)]),
        Residual(4 * width),
        GlobalMean(),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    ]


def _stem(channels: int, width: int, side: int) -> list[nn.Module]:
    if side < 20:
        return _convolution(channels, width)
    side //= 2
    pools = []
    while side > 20:
        pools.append(nn.MaxPool2d(2))
        side //= 2
    return _convolution(channels, width, kernel=4, stride=2, pools=pools)


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, pools: Sequence[nn.MaxPool2d] = ()
) -> list[nn.Module]:
    """Convolution, normalisation, ``pools`` and ReLU.

    A maximum and ReLU may change places, values and gradients stay the same to the last bit; after the pools
    ReLU has a quarter of the work.
    """
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        *pools,
        nn.ReLU(inplace=True),
    ]

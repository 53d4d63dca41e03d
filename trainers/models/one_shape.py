"""A traced network that says so where images are of another shape than those it was traced with.

Its sizes are numbers in the trace: of other images it would compute something, and not what the network does.
"""

# Without ``annotations`` from the future, which TorchScript can't read.
import torch
from torch import Tensor, nn


class OfOneShape(nn.Module):
    """Refuses other images than uint8 (B, C, H, W) of the shape it was made for; to be scripted."""

    def __init__(self, traced: nn.Module, images: Tensor) -> None:
        """``images``, (B, C, H, W): those that ``traced`` was traced with."""
        super().__init__()
        self.traced = traced
        self.channels, self.height, self.width = (int(side) for side in images.shape[1:])

    def forward(self, images: Tensor) -> Tensor:
        """What the network says of ``images``."""
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError("images must be uint8, (batch, channels, height, width)")
        if images.size(1) != self.channels or images.size(2) != self.height or images.size(3) != self.width:
            raise ValueError(
                f"images must have {self.channels} channels and {self.height} x {self.width} pixels: "
                "resize them, or export a model of their size"
            )
        found: Tensor = self.traced(images)
        return found

"""Where an output pixel is read, the same on every processor and by both backends.

They compute coordinates in float32, and whether a point right between two pixels falls to the one or the
other would hang on how a processor rounds: AVX2 rounds a product and a sum at once. So for nearest sampling a
warp is rounded first, which moves no pixel of an image of 400 by more than a tenth, to numbers whose products
and sums float32 holds exactly; and to such as never lie right between two pixels: those fall to the right and
down, as with Pillow.
"""

from __future__ import annotations

import math

from augsearch.policies.effects import Matrix, Size

Row = tuple[float, float, float]
"""How a coordinate is read: row · (x, y, 1), in pixels from the top left one."""

MANTISSA = 24
"""Bits of a float32."""

FEWEST_BITS = 12
"""After the point. There would be fewer where something is read from more than 2,048 pixels away; rounding
would then be coarse, and coordinates are left as they are."""

NOISE = 2.0**-10
"""Of a step, by which float64's rounding may have missed it."""


def read_rows(matrix: Matrix, size: Size, *, nearest: bool) -> tuple[Row, Row, Row]:
    """A warp's ``matrix`` (3, 3), which counts from the centre, as rows that count from the top left pixel.

    ``nearest``: whether they are settled for nearest sampling of images of ``size``.
    """
    x, y, (g, h, last) = matrix.tolist()
    centre_x, centre_y = (size.width - 1) / 2, (size.height - 1) / 2
    from_centre = (
        (x[0] + centre_x * g, x[1] + centre_x * h, x[2] + centre_x * last),
        (y[0] + centre_y * g, y[1] + centre_y * h, y[2] + centre_y * last),
        (g, h, last),
    )
    rows = [(a, b, c - a * centre_x - b * centre_y) for a, b, c in from_centre]
    first, second, third = (settled(row, size) for row in rows) if nearest else rows
    return first, second, third


def settled(row: Row, size: Size) -> Row:
    """``row``, rounded for nearest sampling of images of ``size``; rows of whole numbers are so already."""
    bits = settled_bits(*row, size.height, size.width)
    return row if bits <= 0 else settled_numbers(*row, size.height, size.width, bits)


# The compiled core compiles these lines too.


def settled_bits(across: float, down: float, start: float, height: int, width: int) -> int:
    """How many bits after the point a row is rounded to; 0: its numbers are whole; −1: it stays as it is."""
    if across == math.floor(across) and down == math.floor(down) and start == math.floor(start):
        return 0
    reach = abs(across) * (width - 1) + abs(down) * (height - 1) + abs(start) + 1
    bits = MANTISSA - 1 - math.frexp(reach)[1]
    return bits if bits >= FEWEST_BITS else -1


def settled_numbers(across: float, down: float, start: float, height: int, width: int, bits: int) -> Row:
    """A row, rounded to ``bits`` after the point."""
    step = math.ldexp(1.0, -bits)
    ahead = 0.0
    if across == 0 or down == 0:
        # Of a zoom many lie right between two. Ahead by as much as rounding moves them, all fall alike.
        ahead = (width + height - 2) / 2
    return (
        round(across / step) * step,
        round(down / step) * step,
        (math.floor(start / step + NOISE + ahead) + 0.5) * step,
    )

"""Memory as in C, and what LLVM does not find by itself: look-ups in registers, pixels moved in one piece.

The core works on pointers: with arrays, which count who holds them, it took twice as long to compile.
What they point to is kept by whoever calls it. Look-ups are written in LLVM's instructions, by the processor
that numba compiles for:

================== ===================================================== ================
AVX-512 with VBMI  256 entries lie in four registers                     64 bytes a block
AVX2               sixteen rows of 16, of which one has each byte's entry 32 bytes a block
else               no blocks
================== ===================================================== ================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as numba_intrinsic

_BYTE, _WORD, _PLACE = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_B4, _B16, _B32, _B48, _B64 = (ir.VectorType(_BYTE, count) for count in (4, 16, 32, 48, 64))
_SINGLE, _FOUR, _FOUR_WORDS = ir.FloatType(), ir.VectorType(ir.FloatType(), 4), ir.VectorType(_WORD, 4)
_WORDS = ir.VectorType(_WORD, 16)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for compiled code, of whose types and instructions ``function`` tells."""
    made: Callable[..., Any] = numba_intrinsic(function)
    return made


Typed = tuple[Any, Callable[..., Any]]
"""A signature, and what writes the instructions."""


def _pointer_to(kind: Any) -> Callable[..., Any]:
    """A function for the core: byte ``at`` of ``memory``, an array or a pointer, as a pointer to ``kind``."""

    @intrinsic
    def pointer(typing: Any, memory: Any, at: Any) -> Typed:
        def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            begin = values[0]
            if isinstance(memory, types.Array):
                begin = context.make_array(memory)(context, builder, begin).data
            begin = builder.bitcast(begin, _BYTE.as_pointer())
            found = builder.gep(begin, [values[1]])
            return builder.bitcast(found, context.get_value_type(types.CPointer(kind)))

        return types.CPointer(kind)(memory, types.int64), write

    return pointer


bytes_at, wholes_at, reals_at = (_pointer_to(kind) for kind in (types.uint8, types.int64, types.float64))
words_at, shorts_at = _pointer_to(types.int32), _pointer_to(types.int16)
singles_at = _pointer_to(types.float32)


@intrinsic
def block_bytes(typing: Any) -> Typed:
    """``block_bytes()``: how many bytes ``look_up_block`` does; 0: there is none on this processor."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(_PLACE, 64 if _has_vbmi(context) else 32 if _has_avx2(context) else 0)

    return types.int64(), write


@intrinsic
def has_blocks_of_three(typing: Any) -> Typed:
    """``has_blocks_of_three()``: whether there is ``look_up_block_of_three`` on this processor."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(ir.IntType(1), _has_vbmi(context))

    return types.boolean(), write


@intrinsic
def look_up_block(typing: Any, source: Any, target: Any, entries: Any, at: Any) -> Typed:
    """``look_up_block(source, target, entries, at)``: look ``block_bytes()`` bytes from ``at`` on up."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        read, written, table, _ = values
        if _has_vbmi(context):
            halves = _halves(builder, table)
            found = _in_registers(builder, _load(builder, _B64, read, values[3]), halves)
            _store(builder, found, written, values[3])
        elif _has_avx2(context):
            rows = [_load(builder, _B16, table, ir.Constant(_PLACE, 16 * row)) for row in range(16)]
            found = _in_rows(builder, _load(builder, _B32, read, values[3]), rows)
            _store(builder, found, written, values[3])
        return context.get_dummy_value()

    return types.void(source, target, entries, at), write


@intrinsic
def look_up_block_of_three(typing: Any, source: Any, target: Any, entries: Any, at: Any) -> Typed:
    """``look_up_block_of_three(source, target, entries, at)``: 64 RGB pixels from byte ``at`` on.

    ``entries`` has those of red, green and blue one after the other, (768,).
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        read, written, table, _ = values
        if _has_vbmi(context):
            channels = [_halves(builder, _moved(builder, table, 256 * channel)) for channel in range(3)]
            for begin in (0, 64, 128):
                place = builder.add(values[3], ir.Constant(_PLACE, begin))
                levels = _load(builder, _B64, read, place)
                red, green, blue = (_in_registers(builder, levels, halves) for halves in channels)
                found = builder.select(_every_third(64, 1 - begin), green, red)
                found = builder.select(_every_third(64, 2 - begin), blue, found)
                _store(builder, found, written, place)
        return context.get_dummy_value()

    return types.void(source, target, entries, at), write


@intrinsic
def copy_pixel(typing: Any, source: Any, read: Any, target: Any, write_to: Any) -> Typed:
    """``copy_pixel(source, read, target, to)``: four bytes from ``read`` to ``to``, of which three count."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _store(builder, _load(builder, _WORD, values[0], values[1]), values[2], values[3])
        return context.get_dummy_value()

    return types.void(source, read, target, write_to), write


@intrinsic
def copy_block(typing: Any, source: Any, target: Any, at: Any) -> Typed:
    """``copy_block(source, target, at)``: the ``BLOCK`` bytes from ``at`` on."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _store(builder, _load(builder, _B32, values[0], values[2]), values[1], values[2])
        return context.get_dummy_value()

    return types.void(source, target, at), write


BLOCK = 32
"""Bytes of ``copy_block``."""


@intrinsic
def copy_mirrored(typing: Any, source: Any, read: Any, target: Any, write_to: Any) -> Typed:
    """``copy_mirrored(source, read, target, to)``: 16 RGB pixels from ``read`` to ``to``, last one first."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pixels = _load(builder, _B48, values[0], values[1])
        backwards = _places(3 * (15 - pixel) + channel for pixel in range(16) for channel in range(3))
        _store(builder, builder.shuffle_vector(pixels, pixels, backwards), values[2], values[3])
        return context.get_dummy_value()

    return types.void(source, read, target, write_to), write


@intrinsic
def mix_pixels(typing: Any, source: Any, target: Any, at: Any, factors: Any) -> Typed:
    """``mix_pixels(source, target, at, factors)``: the ``PIXELS`` RGB pixels from byte ``at`` on.

    ``factors``: twelve int32 in 1,024ths, three rows: of red, green and blue, and what is added.
    Sums are cut off to whole levels, and those at 0 and 255.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pixels = _load(builder, _B48, values[0], values[2])
        levels = [
            builder.zext(builder.shuffle_vector(pixels, pixels, _places(range(first, 48, 3))), _WORDS)
            for first in range(3)
        ]
        matrix = [builder.extract_value(values[3], number) for number in range(12)]
        red, green, blue = (_mixed_levels(builder, levels, matrix[row : row + 4]) for row in (0, 4, 8))
        pairs = builder.shuffle_vector(red, green, _places(range(32)))
        blues = builder.shuffle_vector(blue, blue, _places(range(32)))
        in_turn = _places(16 * channel + pixel for pixel in range(PIXELS) for channel in range(3))
        _store(builder, builder.shuffle_vector(pairs, blues, in_turn), values[1], values[2])
        return context.get_dummy_value()

    return types.void(source, target, at, factors), write


PIXELS = 16
"""Pixels of ``mix_pixels``."""


def _mixed_levels(builder: Any, levels: list[Any], row: list[Any]) -> Any:
    """One channel's new levels from those of all: a row of the matrix times them."""
    *factors, total = (_in_all(builder, number, _WORDS) for number in row)
    for factor, level in zip(factors, levels, strict=True):
        total = builder.add(total, builder.mul(factor, level))
    total = builder.ashr(total, _constant(_WORDS, 10))
    for limit, is_beyond in ((0, "<"), (255, ">")):
        end = _constant(_WORDS, limit)
        total = builder.select(builder.icmp_signed(is_beyond, total, end), end, total)
    return builder.trunc(total, _B16)


@intrinsic
def fused(typing: Any, factor: Any, number: Any, added: Any) -> Typed:
    """``fused(factor, number, added)``: a product and a sum of float32, rounded once where processors can."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _product_and_sum(context, builder, *values)

    return types.float32(types.float32, types.float32, types.float32), write


@intrinsic
def blend_pixel(
    typing: Any, source: Any, read: Any, row: Any, right: Any, lower: Any, target: Any, write_to: Any
) -> Typed:
    """``blend_pixel(source, read, row, right, lower, target, to)``: an RGB pixel between four others.

    The four are the one at byte ``read``, the next, and those ``row`` bytes after; ``right`` and ``lower``
    are the shares of the latter, float32. A fourth byte is read after each, and written, that does not count.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        image, begin, down, right, lower, written, to = values

        def levels(*moves: Any) -> Any:
            place = begin
            for move in moves:
                place = builder.add(place, move)
            return builder.sitofp(builder.zext(_load(builder, _B4, image, place), _FOUR_WORDS), _FOUR)

        def mixed(first: Any, second: Any, share: Any) -> Any:
            return _product_and_sum(context, builder, share, builder.fsub(second, first), first)

        next_one = ir.Constant(_PLACE, 3)
        across, along = _in_all(builder, right, _FOUR), _in_all(builder, lower, _FOUR)
        upper = mixed(levels(), levels(next_one), across)
        under = mixed(levels(down), levels(down, next_one), across)
        # From 2^23 on float32 has no bits after the point: the sum is rounded, and ends in the level.
        whole = builder.fadd(mixed(upper, under, along), ir.Constant(_FOUR, [2.0**23] * 4))
        _store(builder, builder.trunc(builder.bitcast(whole, _FOUR_WORDS), _B4), written, to)
        return context.get_dummy_value()

    single = types.float32
    return types.void(source, read, row, single, single, target, write_to), write


def _product_and_sum(context: Any, builder: Any, factor: Any, number: Any, added: Any) -> Any:
    if _has_fma(context):
        return _call(
            builder, "llvm.fma.f32" if factor.type == _SINGLE else "llvm.fma.v4f32", factor, number, added
        )
    return builder.fadd(builder.fmul(factor, number), added)


def _in_all(builder: Any, number: Any, kind: Any) -> Any:
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, first, _places([0] * kind.count))


def _places(numbers: Iterable[int]) -> Any:
    """Which lanes a shuffle takes."""
    chosen = list(numbers)
    return ir.Constant(ir.VectorType(_WORD, len(chosen)), chosen)


def _has_fma(context: Any) -> bool:
    return _has(context, "fma") or "aarch64" in context.codegen().magic_tuple()[0]


def _has_vbmi(context: Any) -> bool:
    return _has(context, "avx512vbmi") and _has(context, "avx512bw")


def _has_avx2(context: Any) -> bool:
    return _has(context, "avx2")


def _has(context: Any, feature: str) -> bool:
    return f"+{feature}" in context.codegen().magic_tuple()[2].split(",")


def _moved(builder: Any, pointer: Any, count: int) -> Any:
    return builder.gep(pointer, [ir.Constant(_PLACE, count)])


def _load(builder: Any, kind: Any, pointer: Any, at: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(pointer, [at]), kind.as_pointer()), align=1)


def _store(builder: Any, value: Any, pointer: Any, at: Any) -> None:
    builder.store(value, builder.bitcast(builder.gep(pointer, [at]), value.type.as_pointer()), align=1)


def _call(builder: Any, name: str, *values: Any) -> Any:
    """One instruction of the processor, or of LLVM's own, by LLVM's name of it."""
    kind = values[0].type
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [one.type for one in values]), name)
    return builder.call(function, values)


def _constant(kind: Any, level: int) -> Any:
    return ir.Constant(kind, [level] * kind.count)


def _every_third(count: int, first: int) -> Any:
    """A mask of the lanes ``first``, ``first`` + 3, …"""
    flags = ir.VectorType(ir.IntType(1), count)
    return ir.Constant(flags, [int(lane % 3 == first % 3) for lane in range(count)])


def _halves(builder: Any, table: Any) -> list[list[Any]]:
    """256 entries in registers: the two of the lower half, and of the upper one."""
    registers = [_load(builder, _B64, table, ir.Constant(_PLACE, 64 * number)) for number in range(4)]
    return [registers[:2], registers[2:]]


def _in_registers(builder: Any, levels: Any, halves: list[list[Any]]) -> Any:
    lower, upper = (
        _call(builder, "llvm.x86.avx512.vpermi2var.qi.512", first, levels, second) for first, second in halves
    )
    bright = builder.icmp_signed("<", levels, _constant(_B64, 0))
    return builder.select(bright, upper, lower)


def _in_rows(builder: Any, levels: Any, rows: list[Any]) -> Any:
    """Each row's look-up gives 0 for bytes whose entry lies in another row; all are put together."""
    twice = _places([*range(16), *range(16)])
    found = _constant(_B32, 0)
    for number, row in enumerate(rows):
        both = builder.shuffle_vector(row, row, twice)
        own = builder.xor(levels, _constant(_B32, 16 * number))
        # A place in the row becomes 0x70 to 0x7F; all else has its highest bit set, which means: 0.
        places = _call(builder, "llvm.uadd.sat.v32i8", own, _constant(_B32, 0x70))
        found = builder.or_(found, _call(builder, "llvm.x86.avx2.pshuf.b", both, places))
    return found

"""Machine operations that Python has no word for, inside compiled code.

They are what the readers of this room and of `archive.values` are fast by, and the one place
where memory can be read out of bounds: everything here trusts its caller (see the contract in
`archive.format`).

`pointer` stands for an array where compiled functions call each other: numba counts references of
arrays at each call, which costs more than what most of them do. A pointer keeps nothing alive:
it is good while the function runs that got the array. Like `load` and `store`, which move eight
bytes at any position, little-endian, it checks nothing: the caller has made sure of the bounds.

Source: numba.extending.intrinsic; LLVM's `llvm.ctlz` and 128-bit `mul`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from workbench.compiled import compiled

_WORD, _DOUBLE_WORD = ir.IntType(64), ir.IntType(128)
Built = tuple[Any, Callable[..., Any]] | None  # signature, and what writes the machine code


def _first_item(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value).data
    return value


def _word_at(context: Any, builder: Any, kind: Any, value: Any, position: Any) -> Any:
    place = builder.gep(_first_item(context, builder, kind, value), [position])
    return builder.bitcast(place, _WORD.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, array: Any) -> Built:
    """Return a pointer to the first item of a contiguous array; another kind does not compile."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _first_item(context, builder, signature.args[0], values[0])

    return types.CPointer(array.dtype)(array), build  # type: ignore[attr-defined]


@intrinsic  # type: ignore[untyped-decorator]
def advance(typing_context: Any, place: Any, items: Any) -> Built:
    """Return a pointer `items` further on."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.gep(values[0], [values[1]])

    return place(place, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def load(typing_context: Any, data: Any, position: Any) -> Built:
    """Return data[position : position + 8], of an array or pointer of uint8, as a uint64."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = builder.load(_word_at(context, builder, signature.args[0], *values))
        word.align = 1
        return word

    return types.uint64(data, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def store(typing_context: Any, data: Any, position: Any, word: Any) -> Built:
    """Set data[position : position + 8] to a uint64."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, position, word = values
        builder.store(
            word, _word_at(context, builder, signature.args[0], array, position)
        ).align = 1
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def leading_zeros(typing_context: Any, value: Any) -> Built:
    """Return how many of the 64 bits of a uint64 > 0 are zero before the first one."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctlz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def multiply(typing_context: Any, a: Any, b: Any) -> Built:
    """Return (high, low) of the 128-bit product of two uint64."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, b = (builder.zext(factor, _DOUBLE_WORD) for factor in values)
        product = builder.mul(a, b)
        high = builder.lshr(product, ir.Constant(_DOUBLE_WORD, 64))
        halves = [builder.trunc(word, _WORD) for word in (high, product)]
        return cgutils.pack_array(builder, halves)

    pair = types.UniTuple(types.uint64, 2)  # type: ignore[attr-defined] # named at run time
    return pair(types.uint64, types.uint64), build


@compiled
def first_byte(marks):  # type: ignore[no-untyped-def]
    """Return the position of the first byte, of eight, that is not zero; 8 if there is none."""
    if marks == np.uint64(0):
        return np.int64(8)
    lowest = marks & (~marks + np.uint64(1))
    return (np.int64(63) - np.int64(leading_zeros(lowest))) >> 3


@compiled
def same(data, a, b, size):  # type: ignore[no-untyped-def]
    """Return whether data[a : a + size] and data[b : b + size] hold the same bytes."""
    done = 0
    while size - done >= 8:
        if load(data, a + done) != load(data, b + done):
            return False
        done += 8
    while done < size:
        if data[a + done] != data[b + done]:
            return False
        done += 1
    return True

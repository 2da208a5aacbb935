"""Machine operations do what Python's own arithmetic does, and stay inside their arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError

from workbench.archive.format import bits, wire
from workbench.archive.format.columns import binary

WORDS = st.integers(0, 2**64 - 1)


@njit
def product(a, b):
    return bits.multiply(a, b)


@njit
def zeros(a):
    return bits.leading_zeros(a)


@njit
def is_same(data, a, b, size):
    return bits.same(bits.pointer(data), a, b, size)


@njit
def first_of(array):
    return bits.pointer(array)[0]


@settings(max_examples=200)
@given(WORDS, WORDS)
def test_words_are_multiplied_and_measured_exactly(a, b):
    high, low = product(np.uint64(a), np.uint64(b))

    assert (int(high) << 64) + int(low) == a * b
    if a:
        assert zeros(np.uint64(a)) == 64 - a.bit_length()


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=40), st.data())
def test_bytes_are_compared_to_the_last_one(raw, data):
    size = data.draw(st.integers(0, len(raw)))
    twice = bytearray(raw + raw)
    assert is_same(np.array(twice), 0, len(raw), size)
    if size:
        twice[len(raw) + data.draw(st.integers(0, size - 1))] ^= 1
        assert not is_same(np.array(twice), 0, len(raw), size)


@settings(max_examples=200)
@given(st.lists(st.none() | st.binary(max_size=30), max_size=10))
def test_columns_of_bytes_hold_every_byte(values):
    sizes = np.array([-1 if one is None else len(one) for one in values], np.int64)
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(b"".join(one or b"" for one in values), np.uint8)

    column = binary(data, ends - np.maximum(sizes, 0), sizes)

    assert column.to_pylist() == values


@settings(max_examples=200)
@given(WORDS, st.binary(max_size=3))
def test_a_number_of_protobuf_is_read_to_its_last_byte(value, behind):
    raw, rest = bytearray(), value
    while rest > 127:
        raw.append(rest & 127 | 128)
        rest >>= 7
    raw.append(rest)
    data = np.array(raw + behind)

    found, at = wire.varint(data, 0, len(data))

    assert (found % 2**64, at) == (value, len(raw))
    assert wire.varint(data, 0, len(raw) - 1) == (0, -1)


def test_only_contiguous_arrays_have_pointers():
    with pytest.raises(TypingError, match="No implementation of function"):
        first_of(np.arange(10)[::2])

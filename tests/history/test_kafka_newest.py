"""Of a topic's newest records no more is read than is wanted."""

import pytest

from workbench.history.kafka_newest import begin_of_newest

MIB = 1 << 20


def newest(sizes, most_bytes, *, least=0):
    """Return what is taken of records of these sizes (None: an offset without one), and read."""
    read = []

    def size(begin, end):
        counted = 0
        for value in sizes[begin:end]:
            if counted > most_bytes:
                break
            counted += value or 0
            read.append(value or 0)
        return counted

    begin = begin_of_newest(least, len(sizes), most_bytes, size)
    return sizes[begin:], sum(read)


@pytest.mark.parametrize("most", [8 * MIB, 64 * MIB, 1_000 * MIB])
def test_of_large_records_so_many_are_taken_as_are_within_the_bytes(most):
    taken, read = newest([8 * MIB] * 20_000, most)

    assert most / 3 < sum(taken) <= most
    assert read <= 2 * most + 8 * MIB


def test_of_small_records_all_are_taken_that_are_asked_for():
    assert len(newest([100] * 30_000, 64 * MIB, least=10_000)[0]) == 20_000


def test_a_record_that_alone_is_too_large_is_taken_alone():
    assert newest([10, 10, 8 * MIB], MIB)[0] == [8 * MIB]


def test_large_records_behind_a_gap_are_not_read_all():
    taken, read = newest([8 * MIB] * 500 + [None] * 700, 64 * MIB)

    assert 8 * MIB <= sum(filter(None, taken)) <= 64 * MIB
    assert read <= 16 * 64 * MIB


def test_of_no_records_none_are_taken():
    assert newest([], MIB) == ([], 0)

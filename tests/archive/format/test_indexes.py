"""Many indexes are read at once, in compiled code, as each is read alone."""

import random
from pathlib import Path

import pyarrow as pa
import pytest

from workbench.archive.format.index import parse_index
from workbench.archive.format.indexes import MANY, read_indexes
from workbench.errors import ArchiveError

HERE = Path(__file__).parents[1]
ROOTS = [HERE / "cases", HERE / "golden", HERE.parents[1] / "data" / "archive"]


def alone(content):
    """Return what `parse_index` gives of an object, or None where it refuses it."""
    try:
        return parse_index(content, key="-")
    except ArchiveError:
        return None


def offloaded():
    """Return the indexes of brokers in the tests' folders."""
    return [path.read_bytes() for root in ROOTS for path in sorted(root.rglob("*-ledger-*-index"))]


def together(contents):
    """Return what `read_indexes` gives of some objects, which may be few, or None."""
    read = read_indexes(pa.array([*contents, *[b""] * max(0, MANY - len(contents))], pa.binary()))
    return [read.index(i) if read.topic[i] >= 0 else None for i in range(len(contents))]


def built(pulsar):
    """Return indexes of several blocks, with names and numbers of all lengths."""
    custom = [(11, [(1, b"component"), (2, b"managed-ledger")])]
    for count in range(1, 40):
        entries = [bytes(1000 * count)] * count
        blocks = pulsar.blocks(entries, 128 + 1012 * count + 12 * count)
        topic = f"plant/line/persistent/{'m' * count}%C3%A9-partition-{count}"
        last, size = len(entries) - 1, sum(map(len, entries)) << count % 20
        metadata = pulsar.metadata(last, size, topic=topic)
        yield pulsar.index(blocks, metadata)
        yield pulsar.index(blocks, pulsar.protobuf(*custom) + metadata) + b"a directory of entries"


def mutations(content, numbers):
    """Yield an index with bytes changed, cut out, put in and cut off."""
    for _ in range(40):
        raw = bytearray(content)
        for _ in range(numbers.randint(1, 3)):
            place = numbers.randrange(len(raw))
            raw[place] = numbers.choice(
                [0, 1, 127, 128, 255, raw[place] ^ 1 << numbers.randrange(8)]
            )
        yield bytes(raw)
    for _ in range(10):
        place = numbers.randrange(len(content))
        yield content[:place]
        yield content[:place] + content[place + 1 :]
        yield content[:place] + numbers.randbytes(numbers.randint(1, 9)) + content[place:]


@pytest.fixture
def indexes(pulsar):
    contents = [*offloaded(), *built(pulsar)]
    return [content for content in contents if alone(content) is not None]


def test_indexes_as_brokers_write_them_are_all_read_together(indexes):
    assert len(indexes) > 100
    assert together(indexes) == [alone(content) for content in indexes]


def test_no_damaged_index_is_read_otherwise_than_alone(indexes):
    numbers = random.Random(14)
    damaged = [raw for content in indexes for raw in mutations(content, numbers)]
    expected = [alone(content) for content in damaged]
    pairs = list(zip(together(damaged), expected, strict=True))

    assert sum(index is None for index in expected) > len(damaged) / 10
    assert sum(parsed is not None for parsed, _ in pairs) > len(damaged) / 20
    assert [pair for pair in pairs if pair[0] is not None and pair[0] != pair[1]] == []


@pytest.mark.parametrize(
    "fields",
    [
        [(3, 10), (4, 0), (5, 3), (10, 2**63 - 1)],
        [(3, -1), (4, 0), (5, 3)],
        [(3, 10), (4, 2**62), (5, 3)],
        [(3, 10), (4, 0), (5, 2)],
        [(3, 10), (4, 0), (5, 2), (5, 3)],
        [(3, 10), (4, 7), (4, 0), (5, 3), (10, 1)],
        [(3, 10), (4, 0), (5, 3), (2**60, 1)],
    ],
    ids=str,
)
def test_numbers_at_the_edges_are_read_as_alone(pulsar, fields):
    name = [(11, [(1, b"pulsar/managed-ledger"), (2, b"a/b/persistent/t")])]
    content = pulsar.index([(bytes(200), 0)], pulsar.protobuf(*fields, *name))

    (parsed,) = together([content])

    assert parsed is None or parsed == alone(content)

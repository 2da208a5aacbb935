"""What a task leaves out because its end is not in the archive, it says; no session is needed."""

import warnings

import pytest

from workbench.errors import ArchiveWarning
from workbench.spark import PulsarArchive


def read(folder, **options):
    """Return rows of each partition of a topic, as its task gives them."""
    source = PulsarArchive({"path": str(folder), "topic": "t", "columns": "value", **options})
    reader = source.reader(source.schema())
    return [
        [value for batch in reader.read(run) for value in batch.column(0).to_pylist()]
        for run in reader.partitions()
    ]


def chunk(pulsar, message, number):
    return pulsar.entry(b"ab", (26, message), (27, 2), (28, 4), (29, number))


def test_messages_without_an_end_are_counted(pulsar, tmp_path):
    of = (22, 6), (23, 1)
    entries = [pulsar.entry(b"plain"), pulsar.entry(b"a", *of), pulsar.entry(b"b", *of)]
    pulsar.ledger(tmp_path, [*entries, chunk(pulsar, b"x", 0)])

    with pytest.warns(ArchiveWarning) as said:
        assert read(tmp_path) == [[b"plain"]]

    assert [str(warning.message) for warning in said] == [
        "persistent://public/default/t: 2 entries of transactions (1:1, ...) and 1 "
        "chunked messages are left out, whose end is not in the archive"
    ]


def test_a_message_that_ends_in_a_later_partition_is_not(pulsar, tmp_path):
    for number in (1, 2):
        pulsar.ledger(tmp_path, [chunk(pulsar, b"x", number - 1)], number=number)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, partitions="2") == [[], [b"abab"]]

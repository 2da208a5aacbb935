"""What a job wrote is read back as it stands, whatever a sensor is called."""

import csv

import pytest

from workbench.errors import StreamError
from workbench.stream.running import outcome

COLUMNS = {"message_id": "STRING", "sensor": "STRING", "event_ms": "BIGINT", "score": "DOUBLE"}
NAMES = ["a", "a\0", "a\0b", "../../etc/passwd", "'; DROP TABLE x --\n\u2028", "x" * 50_000]


def write(folder, names):
    rows = [(f"7:{row}:-1:0", names[row % len(names)], row * 60_000, row / 8) for row in range(600)]
    with (folder / "part-0").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return rows


def test_a_name_with_a_zero_a_line_break_or_without_end_leaves_all_rows_as_they_are(tmp_path):
    rows = write(tmp_path, NAMES)

    table = outcome._csv(tmp_path, COLUMNS)

    assert [tuple(row) for row in table.itertuples(index=False)] == rows


def test_where_no_byte_is_left_to_stand_for_a_zero_it_is_said(tmp_path):
    write(tmp_path, ["".join(map(chr, range(32)))])

    with pytest.raises(StreamError, match="names of sensors hold a zero and every other control"):
        outcome._csv(tmp_path, COLUMNS)

"""Memory stays bounded, whatever the size of the archive."""

import json
import os
import subprocess
import sys

import lz4.block
import pytest

pytestmark = pytest.mark.slow

ENTRIES, MESSAGES = 1300, 1000
LIMIT_MIB = 400
CODE = """
import re, sys
from pathlib import Path
from workbench import archive
from workbench.archive.processes.pool import POOL
opened = archive.open(sys.argv[1], workers=2, processes=sys.argv[2] == "processes")
if sys.argv[2] in ("batches", "processes"):
    rows = sum(batch.num_rows for batch in opened.topic("t").batches())
elif sys.argv[2] == "sql":
    from workbench.archive.querying.sql import query
    text = "select sensor, count(*) n, max(value) from t group by 1"
    rows = sum(sum(batch.to_pydict()["n"]) for batch in query(opened, text))
else:
    from workbench.archive.writing.exporting import export
    rows = export(opened.topic("t"), sys.argv[3], columns=["value"]).rows
# not ru_maxrss: that starts at the size of the process that ran this one
texts = [Path(f"/proc/{pid}/status").read_text() for pid in ("self", *POOL.pids())]
peaks_kib = [int(re.search(r"VmHWM:\\s+(\\d+) kB", text)[1]) for text in texts]
assert (len(texts) == 3) == (sys.argv[2] == "processes")
print(rows, max(peaks_kib) // 1024)
"""


def run(way, bucket, out):
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(bucket), way, str(out)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "WORKBENCH_HOME": str(out.parent)},
    )  # fmt: skip
    return map(int, done.stdout.split())


@pytest.mark.parametrize("way", ["batches", "processes", "sql", "export"])
def test_an_archive_larger_than_the_limit_is_read_within_it(pulsar, tmp_path, way):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    raw = b"".join(
        pulsar.single(
            json.dumps(
                {"sensor": f"s{i % 10}", "value": i / 7, "text": "long and dull " * 20}
            ).encode(),
            (5, 1_700_000_000_000 + i),
        )
        for i in range(MESSAGES)
    )
    packed = lz4.block.compress(raw, store_size=False)
    entry = pulsar.entry(packed, (8, 1), (9, len(raw)), (11, MESSAGES))
    pulsar.ledger(bucket, [entry] * ENTRIES)
    assert len(raw) * ENTRIES > LIMIT_MIB << 20

    if way == "batches":  # compiling, once per machine, takes memory of its own
        run(way, bucket, tmp_path / "out")
    rows, peak_mib = run(way, bucket, tmp_path / "out")

    assert rows == ENTRIES * MESSAGES
    assert peak_mib < LIMIT_MIB

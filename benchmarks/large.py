"""SQL, export and sync of 100 million messages: how much memory they take, also once killed.

    python benchmarks/large.py [--messages COUNT] [--json]

A bucket of ledgers of a million JSON messages each (LZ4, about 75 bytes, ten sensors), whose data
objects are one file under many names: it takes 50 MB of disk, and each ledger is read anew. Each
way is a process of its own, Python and libraries included: a query that groups all messages; an
export of one column with ids to Parquet, and a sync to a Delta table, both killed (SIGKILL) when a
third of the ledgers is there, and begun again. What they have written is counted by DuckDB: each
message once. The same with a tenth of the messages shows whether memory grows with them.

`--json` prints one object: `messages`, and for each of `sql`, `export` and `sync` `NAME_rate`
(messages/s, of both runs where there are two), `NAME_peak_mib` (the larger of both) and
`NAME_tenth_mib`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from made_ledgers import write_json
from replay import payloads

LEDGER = 1_000_000
WAYS = ("sql", "export", "sync")
QUERY = "select sensor, count(*) as n, avg(value) as mean from t group by 1"
CODE = """
import re, sys
from pathlib import Path
from workbench import archive
way, bucket, out, query = sys.argv[1:]
opened = archive.open(bucket)
if way == "sql":
    print(sum(archive.table(opened, query)["n"].to_pylist()))
elif way == "export":
    archive.export(opened.topic("t"), out, columns=["value"])
else:
    archive.sync(opened.topic("t"), out, columns=["value"])
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def start(way: str, bucket: Path, out: Path) -> subprocess.Popen:
    """Return a process that reads the bucket in one of the ways."""
    command = [sys.executable, "-c", CODE, way, bucket, out, QUERY]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def peak_kib(process: subprocess.Popen) -> int:
    """Return the peak memory of a process that runs, 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith("VmHWM")), 0)


def killed(way: str, bucket: Path, out: Path, ledgers: int) -> int:
    """Run until a third of the ledgers is written, kill it, and return its peak in MiB."""
    process, peak = start(way, bucket, out), 0
    while process.poll() is None and len(list(out.glob("event_date=*/*.parquet"))) < ledgers / 3:
        peak = max(peak, peak_kib(process))
        time.sleep(0.05)
    if process.poll() is not None:
        raise SystemExit(f"{way} ended before a third was there")
    process.kill()
    process.wait()
    return peak // 1024


def measure(way: str, bucket: Path, out: Path, ledgers: int) -> dict[str, float]:
    """Return rate and peak memory of a way, and make sure that each message is there once."""
    began = time.perf_counter()
    peak = 0 if way == "sql" else killed(way, bucket, out, ledgers)
    process = start(way, bucket, out)
    said = process.communicate()[0].split()
    if process.returncode:
        raise SystemExit(f"{way} failed")
    seconds = time.perf_counter() - began
    rows = int(said[0]) if way == "sql" else written(way, out)
    if rows != ledgers * LEDGER:
        raise SystemExit(f"{way}: {rows} messages, expected {ledgers * LEDGER}")
    return {"rate": rows / seconds, "peak_mib": max(peak, int(said[-1]))}


def written(way: str, out: Path) -> int:
    """Return how many messages a folder or a table has, each counted once."""
    if way == "sync":
        from deltalake import DeltaTable

        files = DeltaTable(str(out)).file_uris()
    else:
        files = sorted(map(str, out.glob("event_date=*/*.parquet")))
    rows = duckdb.read_parquet(list(files)).project("ledger_id, entry_id * 1000 + batch_index as p")
    found = rows.aggregate("ledger_id, count(*) as n, min(p), max(p), sum(p)").fetchall()
    whole = (LEDGER, 0, LEDGER - 1, LEDGER * (LEDGER - 1) // 2)
    wrong = [row for row in found if row[1:] != whole]
    if wrong:
        raise SystemExit(f"{way}: ledgers whose messages are not each there once: {wrong}")
    return LEDGER * len(found)


def measure_all(folder: Path, ledgers: int) -> dict[str, dict[str, float]]:
    """Return the figures of all ways, of so many ledgers."""
    bucket = folder / f"bucket-{ledgers}"
    bucket.mkdir()
    write_json(bucket, payloads("json", LEDGER), ledgers)
    figures = {}
    for way in WAYS:
        print(f"{way} of {ledgers} ledgers", file=sys.stderr)
        out = folder / f"{way}-{ledgers}"
        figures[way] = measure(way, bucket, out, ledgers)
        shutil.rmtree(out, ignore_errors=True)
    return figures


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100 * LEDGER)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    ledgers = max(10, options.messages // LEDGER)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_HOME"] = str(Path(folder) / "workbench")
        tenth = measure_all(Path(folder), ledgers // 10)
        whole = measure_all(Path(folder), ledgers)
    figures: dict[str, float] = {"messages": ledgers * LEDGER}
    for way in WAYS:
        figures |= {f"{way}_{name}": value for name, value in whole[way].items()}
        figures[f"{way}_tenth_mib"] = tenth[way]["peak_mib"]
    if options.json:
        print(json.dumps(figures))
        return
    print("| way | messages/s | peak MiB | of a tenth |\n|---|---|---|---|")
    for way in WAYS:
        rate, peak = figures[f"{way}_rate"], figures[f"{way}_peak_mib"]
        print(f"| {way} | {rate:,.0f} | {peak:.0f} | {figures[f'{way}_tenth_mib']:.0f} |")


if __name__ == "__main__":
    main()

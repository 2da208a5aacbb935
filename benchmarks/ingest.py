"""How fast an export comes to a topic: `workbench ingest` against a plain loop of pulsar-client.

    python benchmarks/ingest.py [--quick] [--json]

Starts a broker, writes 500,000 readings of ten sensors to a CSV file, two numbers each, and sends
it to a new topic each time, in turns, three times: by `workbench.ingest` (the file is checked
whole, then sent), by `ingest_frame` alone (a frame that is read already), and by the loop that one
would write: csv.DictReader, json.dumps, `send_async` in batches with the client's own defaults,
zstd in all three. Of so many readings the first two are sent by Pulsar's Java client; with
`--quick` they are too few, and the client for Python sends them.

Rates are the best of three. Beside them stands the processor time of the sending processes, which
other work on the machine disturbs less; the broker's is not in it. `--json` prints one object:
`rate`, `frame_rate`, `plain_rate` (readings/s), `ratio`, `frame_ratio` (of the file and of the
frame, against the loop), `cpu_us`, `frame_cpu_us`, `plain_cpu_us` (a reading), `peak_mib`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROUNDS = 3
COLUMNS = {"sensor": "pump", "time": "at", "values": ["flow", "pressure"]}


def write(path: Path, count: int) -> None:
    """Write an export of `count` readings."""
    import numpy as np
    import pandas as pd

    numbers = np.random.default_rng(7)
    times = pd.Timestamp("2026-01-05T00:00:00Z") + pd.to_timedelta(np.arange(count) // 10, unit="s")
    pd.DataFrame(
        {
            "pump": np.char.add("pump-", (np.arange(count) % 10).astype(str)),
            "at": times.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "flow": numbers.normal(120, 2, count).round(3),
            "pressure": numbers.normal(7, 0.1, count).round(4),
        }
    ).to_csv(path, index=False)


def processor_s() -> float:
    """Return what this process has used, and what its children that have ended did."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def by_file(path: Path, topic: str) -> None:
    """Send an export as `workbench ingest` does."""
    import workbench

    workbench.ingest(path, topic, **COLUMNS)


def by_frame(path: Path, topic: str) -> tuple[float, float]:
    """Send a frame; return when sending began, in s, and what processor time was used before."""
    from workbench import services

    frame = services.look(path, **COLUMNS).frame
    began, used = time.perf_counter(), processor_s()
    services.ingest_frame(frame, topic, **COLUMNS)
    return began, used


def by_loop(path: Path, topic: str) -> None:
    """Send an export by the loop that one would write."""
    import pulsar

    from workbench.broker import connect

    refusals = []

    def answered(result, _message_id):
        if result != pulsar.Result.Ok:
            refusals.append(result)

    with connect() as client, path.open(newline="") as file:
        producer = client.create_producer(
            topic,
            compression_type=pulsar.CompressionType.ZSTD,
            batching_enabled=True,
            block_if_queue_full=True,
        )
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["at"])
            reading = {"pump": row["pump"]}
            reading |= {name: float(row[name]) for name in COLUMNS["values"]}
            producer.send_async(
                json.dumps(reading).encode(),
                answered,
                partition_key=row["pump"],
                event_timestamp=int(at.timestamp() * 1000),
            )
        producer.flush()
    if refusals:
        raise SystemExit(f"{len(refusals)} readings were refused: {refusals[0]}")


def measure(count: int) -> dict[str, tuple[float, float]]:
    """Return the best time and processor time of each way, in s."""
    from workbench import services

    ways = {"file": by_file, "frame": by_frame, "plain": by_loop}
    taken = {way: [] for way in ways}
    services.up(["pulsar"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pumps.csv"
        write(path, count)
        for number in range(ROUNDS):
            for way, send in ways.items():
                print(f"round {number + 1}, {way}", file=sys.stderr)
                began, used = time.perf_counter(), processor_s()
                began, used = send(path, f"bench-{way}-{number}") or (began, used)
                taken[way].append((time.perf_counter() - began, processor_s() - used))
    return {way: tuple(map(min, zip(*times, strict=True))) for way, times in taken.items()}


def summary(best: dict[str, tuple[float, float]], count: int) -> dict[str, float]:
    """Return rates, ratios and processor time a reading."""
    seconds = {way: taken[0] for way, taken in best.items()}
    used_us = {way: taken[1] / count * 1e6 for way, taken in best.items()}
    peak_kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    return {
        "rate": count / seconds["file"],
        "frame_rate": count / seconds["frame"],
        "plain_rate": count / seconds["plain"],
        "ratio": seconds["plain"] / seconds["file"],
        "frame_ratio": seconds["plain"] / seconds["frame"],
        "cpu_us": used_us["file"],
        "frame_cpu_us": used_us["frame"],
        "plain_cpu_us": used_us["plain"],
        "peak_mib": int(peak_kib) / 1024,
    }


def main() -> None:
    """Measure, and print a table or one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 readings, not 500,000")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    count = 100_000 if options.quick else 500_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_HOME"] = str(Path(folder) / "workbench")
        from workbench import services

        try:
            figures = summary(measure(count), count)
        finally:
            services.down()
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:13} {figure:12,.2f}")


if __name__ == "__main__":
    main()

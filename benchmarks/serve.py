"""What `workbench serve` and `archive sync` cost, beside exported Parquet that DuckDB reads.

    python benchmarks/serve.py [--quick] [--json]

Simulates six pumps that send one reading a minute for 30 days (`--quick`: 4), writes them as the
offloader does (LZ4 batches of 1,000, a ledger a day), serves the bucket from a process of its own
and asks with psycopg. DuckDB reads the exported files in this process: nothing goes over a wire.

    first_ms             one dashboard query (mean per hour and pump) of the whole span, nothing
                         decoded before, in a server that has just started
    again_ms, month_ms   the same again, and a panel (one pump's mean per 10 minutes): median of 9
    again_cpu_ms         processor time of the server for one of these, the steadier figure
    first_ratio          first_ms over exporting to Parquet and asking that
    again/month_ratio    again_ms and month_ms over the same query of the exported files
    bytes_read_share     bytes read for one day, over those for the whole span; of columns that
                         were not decoded before
    clients_50_p50/p99_ms    50 clients at once, each asks for a day 20 times (`--quick`: 4)
    fetch_rows_s         rows that a client fetches of four columns, a second
    fetch_ratio          that over DuckDB's `fetchall` of the exported files
    sync_rows_s          rows a second of `archive sync` into a new Delta table
    sync_ratio           that over the export to Parquet
    spark_local2_ratio   rows a second that Spark's local[2] reads, over one process: what
                         `benchmarks/spark.py --quick` says, which has more of it
    load                 of the machine at the start: what else ran, in processes that want a core
    peak_mib             the server's resident memory at most, pages of its cache included
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import lz4.block
import numpy as np
import psycopg

from workbench import archive

START_MS = 1_767_571_200_000  # 2026-01-05
DAY_MS = 86_400_000
BATCH = 1000
CLIENTS = 50
# builds ledgers for the tests, too
WRITER = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "conftest.py"))["Writer"]()
SERVE = "import sys; from workbench.cli import main; sys.argv[0] = 'workbench'; main()"
HOURLY = (
    "select floor(extract(epoch from event_time)/3600)*3600 as time, pump, avg(vibration_mm_s) "
    "from pumps where event_time between '2026-01-05T00:00:00Z' and '2026-03-01T00:00:00Z' "
    "group by 1, 2 order by 1"
)
PANEL = (
    "select floor(extract(epoch from event_time)/600)*600 as time, avg(flow_l_min) from pumps "
    "where event_time between '2026-01-05T00:00:00Z' and '2026-03-01T00:00:00Z' "
    "and pump = 'pump-1' group by 1 order by 1"
)
UNSEEN = "select avg({}) from pumps where {}"
BY_PUMP = "select pump, avg(vibration_mm_s) from pumps where {} group by 1"
ALL = "select pump, event_time, flow_l_min, vibration_mm_s from pumps"


def entry(messages: list[tuple[int, bytes]]) -> bytes:
    """Return an entry: a batch of (event time in ms, payload), LZ4."""
    raw = b"".join(WRITER.single(payload, (5, event_ms)) for event_ms, payload in messages)
    more = (8, 1), (9, len(raw)), (11, len(messages))  # compression, size, messages
    packed = lz4.block.compress(raw, store_size=False)
    return WRITER.entry(packed, *more, publish_ms=messages[-1][0])  # type: ignore[no-any-return]


def write_bucket(folder: Path, days: int) -> int:
    """Write readings of six pumps, one a minute; return how many."""
    random = np.random.default_rng(7)
    names = "flow_l_min", "discharge_pressure_bar", "vibration_mm_s", "bearing_temperature_c"
    for day in range(days):
        values = random.normal((300, 4.2, 1.4, 55), (9, 0.1, 0.2, 2), (1440 * 6, 4)).round(3)
        messages = []
        for i, numbers in enumerate(values.tolist()):
            reading = {"pump": f"pump-{i % 6 + 1}", **dict(zip(names, numbers, strict=True))}
            event_ms = START_MS + day * DAY_MS + i // 6 * 60_000
            messages.append((event_ms, json.dumps(reading).encode()))
        entries = [entry(messages[i : i + BATCH]) for i in range(0, len(messages), BATCH)]
        WRITER.ledger(folder, entries, number=day + 1, topic="public/default/persistent/pumps")
    return days * 1440 * 6


class Served:
    """A server in a process of its own, and connections to it."""

    def __init__(self, bucket: Path, home: Path) -> None:
        command = [sys.executable, "-c", SERVE, "serve", "--archive", str(bucket), "--port", "0"]
        environment = {**os.environ, "WORKBENCH_HOME": str(home)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stderr=pipe, text=True, env=environment)
        assert self.process.stderr is not None  # noqa: S101
        line = self.process.stderr.readline()
        self.port = int(line.partition("127.0.0.1:")[2].split()[0])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection."""
        where = f"host=127.0.0.1 port={self.port} user=bench dbname=archive"
        return psycopg.connect(where, autocommit=True)

    def cpu_ms(self) -> float:
        """Return the processor time that it took so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        """Return the most memory that was resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ms(call: Callable[[], object], times: int = 1) -> float:
    """Return how long a call takes, the median of some."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


def asked(connection: Any, text: str, times: int = 1) -> float:
    """Return how long a query takes until its rows are here, ms."""
    return ms(lambda: connection.execute(text).fetchall(), times)


def day_of(day: int) -> str:
    """Return the condition of one day."""
    first, stop = (np.datetime64(START_MS + n * DAY_MS, "ms") for n in (day, day + 1))
    return f"event_time >= '{first}Z' and event_time < '{stop}Z'"


def bytes_read(connection: psycopg.Connection[Any], text: str) -> int:
    """Return what a query reads of the archive."""
    connection.execute(text).fetchall()
    return int(connection.execute("show workbench.bytes_read").fetchall()[0][0])


def at_once(served: Served, rounds: int, days: int) -> list[float]:
    """Return how long each query of many clients at once takes, ms."""
    taken: list[float] = []

    def ask(number: int) -> None:
        with served.connect() as connection:
            texts = [BY_PUMP.format(day_of((number + i) % days)) for i in range(rounds)]
            taken.extend(asked(connection, text) for text in texts)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) != CLIENTS * rounds:
        raise SystemExit(f"{len(taken)} of {CLIENTS * rounds} queries were answered")
    return taken


def of_server(bucket: Path, folder: Path, days: int, rounds: int) -> dict[str, float]:
    """Return the figures of the server."""
    with Served(bucket, folder / "warm") as served, served.connect() as connection:
        connection.execute(HOURLY).fetchall()  # the machine's file cache, and code is compiled
    with Served(bucket, folder / "home") as served, served.connect() as connection:
        connection.execute("select 1").fetchall()
        first_ms, before_ms = asked(connection, HOURLY), served.cpu_ms()
        again_ms, again_cpu_ms = asked(connection, HOURLY, 9), (served.cpu_ms() - before_ms) / 9
        asked(connection, PANEL)
        month_ms = asked(connection, PANEL, 9)
        day = bytes_read(connection, UNSEEN.format("bearing_temperature_c", day_of(1)))
        span = bytes_read(connection, UNSEEN.format("discharge_pressure_bar", "true"))
        fetch_ms = asked(connection, ALL)
        taken = at_once(served, rounds, days)
        return {
            "first_ms": first_ms,
            "again_ms": again_ms,
            "again_cpu_ms": again_cpu_ms,
            "month_ms": month_ms,
            "bytes_read_share": day / span,
            "clients_50_p50_ms": float(np.percentile(taken, 50)),
            "clients_50_p99_ms": float(np.percentile(taken, 99)),
            "fetch_ms": fetch_ms,
            "peak_mib": served.peak_mib(),
        }


def of_parquet(topic: archive.Topic, folder: Path) -> dict[str, float]:
    """Return what exporting takes, and the same queries of the exported file."""
    export_ms = ms(lambda: archive.export(topic, folder / "exported"))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW pumps AS FROM '{folder}/exported/*/*.parquet'")
    first_ms, again_ms = asked(connection, HOURLY), asked(connection, HOURLY, 9)
    month_ms, fetch_ms = asked(connection, PANEL, 9), asked(connection, ALL)
    connection.close()
    return {
        "export_ms": export_ms,
        "first_ms": export_ms + first_ms,
        "again_ms": again_ms,
        "month_ms": month_ms,
        "fetch_ms": fetch_ms,
    }


def of_spark() -> float:
    """Return how much faster Spark reads on two cores than one process does on one."""
    command = [sys.executable, str(Path(__file__).with_name("spark.py")), "--quick", "--json"]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return float(json.loads(said.splitlines()[-1])["spark_local2_ratio"])


def figures(quick: bool) -> Iterator[tuple[str, float]]:
    """Yield each figure."""
    yield "load", os.getloadavg()[0]
    days = 4 if quick else 30
    with tempfile.TemporaryDirectory(prefix="serve-") as name:
        folder = Path(name)
        bucket = folder / "bucket"
        bucket.mkdir()
        rows = write_bucket(bucket, days)
        topic = archive.open(str(bucket)).topic("pumps")
        topic.read()  # compiled code is loaded
        ours = of_server(bucket, folder, days, rounds=4 if quick else 20)
        theirs = of_parquet(topic, folder)
        sync_ms = ms(lambda: archive.sync(topic, folder / "lake"))
    fetch_ms = ours.pop("fetch_ms")
    yield "rows", rows
    yield from ours.items()
    for key in ("first", "again", "month"):
        yield f"{key}_ratio", ours[f"{key}_ms"] / theirs[f"{key}_ms"]
    yield "fetch_rows_s", rows / fetch_ms * 1000
    yield "fetch_ratio", theirs["fetch_ms"] / fetch_ms
    yield "sync_rows_s", rows / sync_ms * 1000
    yield "sync_ratio", theirs["export_ms"] / sync_ms
    yield "spark_local2_ratio", of_spark()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="four days in place of thirty")
    parser.add_argument("--json", action="store_true", help="one object")
    asked = parser.parse_args()
    found = {name: round(value, 3) for name, value in figures(asked.quick)}
    if asked.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:20} {value:12,.3f}")


if __name__ == "__main__":
    main()

"""How soon the bucket of a fleet is open, and one day of one machine is read from it.

    python benchmarks/catalogue.py [--quick] [--json]

A bucket of 200,000 ledgers (2,000 topics, four ledgers a day each, as the tests' writer makes them)
behind a stand-in for S3 on loopback that answers each request after 10 ms
(`benchmarks/stand_in_s3.py` says why it is not s3proxy; it takes a core for itself). Each
measurement is a process of its own, imports not counted: `open` and `topics()` with nothing kept;
the same again; `open` and a day of one topic (4 of its 100 ledgers), whose times an earlier read
met. Beside them what one would do otherwise: s3fs' `find` and `cat` of all indexes, on a
sixteenth of the listing and 1,000 indexes, scaled.

`--quick` has 20,000 ledgers, and seconds are scaled to 200,000: more than it would take, since what
does not grow is scaled as well.

`--json` prints one object: `open_200k_cold_s`, `open_200k_warm_s`, `day_of_200k_s`, `peak_mib` (the
most of these processes), `cold_ratio` and `warm_ratio` (s3fs' seconds over ours), `warm_gets` and
`day_gets` (requests for objects, as the stand-in counts them), `ledgers` (that were there).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests
from stand_in_s3 import serving

LEDGERS = 200_000
DELAY_MS = 10
DAY = ("2026-01-10", "2026-01-11")
TOPIC = "persistent://plant/line0/machine-0"
SAMPLE = 1000
PARTS = 16  # of the listing, by the first digit of a key
OPTIONS = {"key": "key", "secret": "secret"}


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(what: str, endpoint: str) -> None:
    """Print what one measurement takes, in s, and its peak memory."""
    seconds = {"open": open_all, "topic": read_topic, "day": read_day, "s3fs": read_by_s3fs}
    figures = seconds[what](endpoint)
    peak_kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    print(json.dumps({**figures, "peak_mib": int(peak_kib) / 1024}))


def opened(endpoint: str):
    """Return the archive."""
    from workbench import archive

    return archive.open("s3://b", endpoint_url=endpoint, **OPTIONS)


def open_all(endpoint: str) -> dict[str, float]:
    """Open it and list its topics."""
    import pandas  # noqa: F401 - of `topics`
    import s3fs  # noqa: F401

    return {"s": timed(lambda: opened(endpoint).topics())}


def read_topic(endpoint: str) -> dict[str, float]:
    """Read one topic, so that the times in its ledgers are known."""
    return {"rows": opened(endpoint).topic(TOPIC).read().num_rows}


def read_day(endpoint: str) -> dict[str, float]:
    """Open it and read a day of one topic."""
    rows = []
    seconds = timed(lambda: rows.append(opened(endpoint).topic(TOPIC).read(*DAY).num_rows))
    return {"s": seconds, "rows": rows[0]}


def read_by_s3fs(endpoint: str) -> dict[str, float]:
    """List a part of it and read some indexes, as one would with s3fs."""
    import s3fs

    fs = s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False, **OPTIONS)
    fs.exists("b/none")  # connects
    keys: list[str] = []
    listing = timed(lambda: keys.extend(fs.find("b", prefix="0")))
    indexes = [key for key in keys if key.endswith("-index")][:SAMPLE]
    return {"list_s": listing * PARTS, "get_s": timed(lambda: fs.cat(indexes)) / len(indexes)}


def run(what: str, endpoint: str) -> dict[str, float]:
    """Return the figures of a measurement in a process of its own, and the GETs that it made."""
    before = requests.get(endpoint, timeout=60).json().get("get", 0)
    command = [sys.executable, __file__, "--measure", what, endpoint]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(out.stdout.splitlines()[-1])
    return {**figures, "gets": requests.get(endpoint, timeout=60).json().get("get", 0) - before}


def measure_all(ledgers: int) -> dict[str, dict[str, float]]:
    """Return every measurement, by its name."""
    print(f"making a bucket of {ledgers} ledgers", file=sys.stderr)
    figures = {}
    with serving("--delay-ms", DELAY_MS, "--ledgers", ledgers) as endpoint:
        requests.get(endpoint, timeout=60)
        for name, what in (
            ("cold", "open"), ("warm", "open"), ("topic", "topic"), ("day", "day"), ("s3fs", "s3fs")
        ):  # fmt: skip
            print(f"measuring: {name}", file=sys.stderr)
            figures[name] = run(what, endpoint)
    return figures


def summary(figures: dict[str, dict[str, float]], ledgers: int) -> dict[str, float]:
    """Return the figures that the goals are about."""
    scale = LEDGERS / ledgers
    cold, warm, day = (figures[name]["s"] * scale for name in ("cold", "warm", "day"))
    otherwise = scale * figures["s3fs"]["list_s"] + LEDGERS * figures["s3fs"]["get_s"]
    return {
        "open_200k_cold_s": cold,
        "open_200k_warm_s": warm,
        "day_of_200k_s": day,
        "peak_mib": max(figures[name]["peak_mib"] for name in ("cold", "warm", "day")),
        "cold_ratio": otherwise / cold,
        "warm_ratio": otherwise / warm,
        "warm_gets": figures["warm"]["gets"],
        "day_gets": figures["day"]["gets"],
        "ledgers": ledgers,
    }


def show(figures: dict[str, float]) -> None:
    """Print the table."""
    otherwise = figures["open_200k_cold_s"] * figures["cold_ratio"]
    rows = [
        ("s3fs: find, cat of all indexes (scaled)", otherwise, 1.0, LEDGERS),
        ("open, nothing kept", figures["open_200k_cold_s"], figures["cold_ratio"], LEDGERS),
        ("open again", figures["open_200k_warm_s"], figures["warm_ratio"], figures["warm_gets"]),
        ("open, a day of a topic", figures["day_of_200k_s"], None, figures["day_gets"]),
    ]
    print(f"| {LEDGERS:,} ledgers, {DELAY_MS} ms a request | s | ratio | GETs |\n|---|---|---|---|")
    for name, seconds, ratio, gets in rows:
        print(f"| {name} | {seconds:.1f} | {'' if ratio is None else f'{ratio:.1f}'} | {gets:,} |")
    print(json.dumps(figures))


def main() -> None:
    """Measure, or be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 ledgers, scaled")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    ledgers = LEDGERS // 10 if options.quick else LEDGERS
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_HOME"] = str(Path(folder) / "workbench")
        figures = summary(measure_all(ledgers), ledgers)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()

"""What a store holds after a write that was killed, or met an error, at any line of `files`.

Run as a script: `crashes.py OPERATION HOW FOLDER`. A child does the operation on a fresh copy of
the folder and ends itself (`kill`), or meets an error of the disk (`ENOSPC`, `EROFS`, `EIO`), at
the n-th line that runs in `files`, or may write no file longer than n bytes (`limit`: the system
cuts the write that goes beyond); another does it again, whole. A line of JSON for each n: how the
first ended, the state before and after it, whether that could be seen, how the other ended, and the
state then.
"""

import errno
import json
import os
import resource
import shutil
import signal
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from workbench import alerts, archive, detectors, files, plant, runs
from workbench.alerts.journal import Journal, journal_path
from workbench.errors import PackageError
from workbench.runs.store import publish
from workbench.stream import promotion_log
from workbench.stream.promotion_log import Promotion

_STEP = 11  # bytes between two places at which a write is cut
FIRST = Promotion("plant", "champion", "a" * 64, promotion_log.BEGINNING, "2026-01-01T00:00:00Z")
SECOND = replace(FIRST, package="b" * 64, effective_ms=2**45)
ALERT = {"id": "9f", "status": "open", "sensor": "pump-1"}
BUCKET = Path(__file__).parent / "archive" / "cases" / "decimal50" / "bucket"
TOPIC = "persistent://public/arch/decimal50"
STREAM = {
    "topic": "plant", "sensor": "pump", "channels": list(plant.CHANNELS), "lateness_s": 60,
    "window": 10, "alerts": "plant-alerts",
}  # fmt: skip


def packages():
    """Ids of the packages that can be used."""
    folders = (promotion_log.store() / "packages").glob("[0-9a-f]*")
    return [path.name for path in folders if detectors.load(path, package_id=path.name)]


def usable():
    try:
        return packages()
    except PackageError:
        return []


def fitted(folder):
    readings, _ = plant.simulate(pumps=1, days=1, seed=7)
    spec = {"name": "robust_z", "window": 5, "channels": list(plant.CHANNELS)}
    rule = detectors.EpisodeRule(k=3, n=5, m=10)
    detectors.save(
        detectors.fit(spec, readings, sensor="pump", seed=7),
        folder / "package",
        threshold=4.0,
        rule=rule,
        training={},
    )


def damaged(folder):
    fitted(folder)
    package_id = promotion_log.add_package(folder / "package")
    scores = promotion_log.store() / "packages" / package_id / "detector.json"
    scores.write_bytes(scores.read_bytes()[:-20])


def finished_run(folder):
    (folder / "runs" / ".partial-run").mkdir(parents=True)
    (folder / "runs" / ".partial-run" / "run.json").write_text("{}")


def published():
    return sorted(path.name for path in Path("runs").glob("2*"))


def publish_once():
    if not published():
        publish(Path("runs/.partial-run").resolve(), "20260101T000000Z-0123abcd")


def answer():
    from workbench.stream import parse_stream

    alerts.answer(parse_stream("plant", STREAM), "true", alert="9f", who="ann")


def answered():
    from workbench.stream import parse_stream

    return sorted({said.verdict for said in alerts.answers(parse_stream("plant", STREAM))})


def looked_at(folder):
    """What is remembered of a bucket is there before: its writing is tried by other operations."""
    shutil.copytree(BUCKET, folder / "bucket")
    archive.export(archive.open("bucket").topic(TOPIC), folder / "another")


def exported():
    """Ledgers that are done, where every file that can be seen is whole."""
    out = Path("out")
    rows = [pq.read_metadata(path).num_rows for path in out.glob("event_date=*/*.parquet")]
    assert all(rows)
    return sorted(path.name for path in out.glob("_export/ledger-*.json"))


# of each operation: what is there before, what is done, and what somebody who looks then sees
OPERATIONS = {
    "promote": (
        lambda folder: promotion_log.append(FIRST),
        lambda: len(promotion_log.promotions("plant")) == 2 or promotion_log.append(SECOND),
        lambda: [promotion.package[0] for promotion in promotion_log.promotions("plant")],
    ),
    "add package": (fitted, lambda: promotion_log.add_package("package"), packages),
    "mend package": (damaged, lambda: promotion_log.add_package("package"), usable),
    "journal": (
        lambda folder: Journal(journal_path("plant", "shift")).record("failed", [ALERT]),
        lambda: Journal(journal_path("plant", "shift")).record("sent", [ALERT]),
        lambda: Journal(journal_path("plant", "shift")).settled(ALERT),
    ),
    "answer": (lambda folder: None, answer, answered),
    "record": (
        lambda folder: runs.record({"first": 1}),
        lambda: runs.record({"second": 2}, detector_package=None, data={"topic": "plant"}),
        lambda: sorted(json.loads((runs.folder() / "metrics.json").read_text())),
    ),
    "export": (
        looked_at,
        lambda: archive.export(archive.open("bucket").topic(TOPIC), "out").rows,
        exported,
    ),
    "publish": (finished_run, publish_once, published),
}


def child(work):
    """Do something in a process of its own; return its status and what it wrote."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            status = 0
        except OSError as err:
            status = 3 if err.errno in files.REFUSALS else 1
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    return os.waitpid(number, 0)[1], json.loads(text) if text else None


def hurt(work, how, number):
    """Do it until the n-th line in `files`, or byte; return how many of the lines were left."""

    if how == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, resource.RLIM_INFINITY))
        work()
        return 1

    def trace(frame, event, argument):
        nonlocal number
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            number -= 1
            if number == 0 and how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 0:
                raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))
        return trace

    sys.settrace(trace)
    work()
    sys.settrace(None)
    return number


def main(operation, how, place):
    prepare, work, state = OPERATIONS[operation]
    before, now = Path(place) / "before", Path(place) / "now"
    for folder in (before, now):
        folder.mkdir()
    os.environ["WORKBENCH_HOME"] = ".workbench"  # of the folder that is worked in
    os.chdir(before)
    prepare(before)
    os.chdir(place)
    first, status, number = None, 1, 0
    while status != 0:
        number += _STEP if how == "limit" else 1
        shutil.rmtree(now)
        shutil.copytree(before, now)
        os.chdir(now)
        first = child(state)[1] if first is None else first
        status, left = child(partial(hurt, work, how, number))
        if how.startswith("E") and status == 0 and left <= 0:
            status = 256  # it went on without what failed
        looked, then = child(state)
        again, _ = child(work)
        line = json.dumps([status, first, then, looked, again, child(state)[1]])
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])

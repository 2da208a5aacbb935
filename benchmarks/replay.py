"""How fast offloaded history is read: this reader against Pulsar's own Python client.

    python benchmarks/replay.py [--quick] [--json] [--alone]

Starts the services, sends 1,000,000 JSON, Avro and raw messages (LZ4, in batches, about 75 bytes
each), reads each topic with the client's Reader from bookies, offloads it, reads it with the Reader
from tiered storage, and with `workbench.archive` from the folder and from S3, each in a process of
its own: `read()`, for raw messages `messages()`; JSON by `batches()` too.

The archive's figures are the best of five, after one reading that warms caches (compiled code is
loaded from numba's cache; the very first call compiles, and is reported as `first_call_s`).
Readings on one core and on two take turns; those on two have processes, which the reading that
warms starts (`processes=True`): their processor time is counted, their memory is not. The Reader
reads once. Beside the rate stands the processor time of the reading process, which other work on
the machine disturbs less; the broker's is not in it.

`s3` is s3proxy; `s3, stand-in` an endpoint that is no slower than what reads from it, with 0 and
with 20 ms a request (`benchmarks/stand_in_s3.py`). Ideal with 20 ms is the time with 0 ms and twice
20 ms: the listing and the first range wait for one another, all else may come beside decoding.
Protobuf and encrypted messages are of ledgers that `benchmarks/made_ledgers.py` makes: no Reader
beside them. `--alone` measures two cores and the stand-in on such ledgers, and starts no services.

`--json` prints one object: `json_rate`, `avro_rate`, `messages_rate` (messages/s from the folder,
on one core), `json_ratio`, `avro_ratio`, `messages_ratio` (against the Reader from tiered storage),
`two_core_ratio` (JSON), `s3_to_folder`, `s3_20ms_to_folder` (the stand-in's rate over the folder's,
JSON), `s3_20ms_to_ideal` (its time over the ideal one), `protobuf_rate`, `encrypted_rate`
(messages/s, on one core), `peak_mib` (of `batches()`, Python and libraries included),
`first_call_s`.
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
from pathlib import Path

from made_ledgers import write_encrypted, write_json, write_protobuf
from stand_in_s3 import serving

KINDS = ("json", "avro", "bytes")
MADE = {"protobuf": write_protobuf, "encrypted": write_encrypted}
DELAYS_MS = {"s3, stand-in": 0, "s3, stand-in, 20 ms": 20}
ROUNDS = 5
RECORD = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "sensor", "type": ["null", "string"]},
        {"name": "ts", "type": ["null", "long"]},
        {"name": "value", "type": ["null", "double"]},
    ],
}


def payloads(kind: str, count: int):
    """Yield (sensor, event time in ms, payload) as the baseline topic has them."""
    import io

    import fastavro
    import numpy as np

    values = np.random.default_rng(7).normal(0.5, 0.4, count)
    schema = fastavro.parse_schema(RECORD)
    for i, value in enumerate(values.tolist()):
        reading = {"sensor": f"s{i % 10}", "ts": 1_700_000_000_000 + 100 * i, "value": value}
        raw = json.dumps(reading, indent=1).encode()
        if kind == "avro":
            out = io.BytesIO()
            fastavro.schemaless_writer(out, schema, reading)
            raw = out.getvalue()
        yield reading["sensor"], reading["ts"], raw


def produce(kind: str, topic: str, count: int) -> None:
    """Send `count` messages and wait for all of them."""
    import pulsar

    from workbench.broker import connect

    refused = []

    def taken(result, _):
        if result != pulsar.Result.Ok:
            refused.append(result)

    types = {"json": _pulsar_type("JSON"), "avro": _pulsar_type("AVRO")}
    with connect() as client:
        producer = client.create_producer(
            topic,
            schema=pulsar.schema.BytesSchema() if kind == "bytes" else _Registered(types[kind]),
            compression_type=pulsar.CompressionType.LZ4,
            batching_enabled=True,
            batching_max_publish_delay_ms=10,
            block_if_queue_full=True,
        )
        for sensor, event_ms, raw in payloads(kind, count):
            producer.send_async(raw, taken, partition_key=sensor, event_timestamp=event_ms)
        producer.flush()
        producer.close()
    if refused:
        raise SystemExit(f"{len(refused)} messages were refused: {refused[0]}")


def _pulsar_type(name: str):
    import _pulsar

    return getattr(_pulsar.SchemaType, name)


def _Registered(kind):  # noqa: N802 - stands for a class
    """Return a schema that registers RECORD and sends bytes as they are."""
    from pulsar.schema import Schema

    class Registered(Schema):
        def __init__(self):
            super().__init__(bytes, kind, RECORD, "Reading")

        def encode(self, raw):
            return raw

        def decode(self, raw):
            return raw

        def __str__(self):
            return "Registered"

    return Registered()


def measure_reader(kind: str, topic: str) -> None:
    """Print what the client's Reader takes, to a frame (json, avro) or as payload bytes."""
    import io

    import fastavro
    import pandas as pd
    import pulsar

    from workbench.broker import connect

    schema = fastavro.parse_schema(RECORD)
    decode = {
        "json": json.loads,
        "avro": lambda raw: fastavro.schemaless_reader(io.BytesIO(raw), schema, None),
    }.get(kind)
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest, receiver_queue_size=20_000)
        began, used = time.perf_counter(), time.process_time()
        rows = []
        while reader.has_message_available():
            message = reader.read_next()
            if decode is None:
                rows.append(message.data())
                continue
            place = message.message_id()
            value = decode(message.data())
            rows.append(
                (
                    *value.values(),
                    message.partition_key(),
                    message.event_timestamp(),
                    message.publish_timestamp(),
                    place.ledger_id(),
                    place.entry_id(),
                    place.batch_index(),
                )
            )
        frame = pd.DataFrame(rows)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        reader.close()
    print(json.dumps({"": figures(seconds, used, len(frame))}))


def measure_archive(how: str, topic: str, url: str, cores: str, schemas: str) -> None:
    """Print what this reader takes, by number of cores: `read`, `messages` or `batches`."""
    from workbench import archive

    allowed = sorted(os.sched_getaffinity(0))
    best: dict[str, tuple[float, float]] = {}
    first_s = 0.0
    for turn in range(1 + ROUNDS):
        for count in map(int, cores.split(",")):
            os.sched_setaffinity(0, allowed[:count])  # threads started from here on have it too
            began, used = time.perf_counter(), processor_s()
            keys = Path(url) / "keys" if (Path(url) / "keys").is_dir() else None
            ways = {"workers": count, "processes": count > 1}
            history = archive.open(url, schemas=schemas, keys=keys, **ways).topic(topic)
            rows = take(history, how)
            taken = time.perf_counter() - began, processor_s() - used
            if turn:
                best[str(count)] = min(taken, best.get(str(count), taken))
            else:
                first_s = first_s or taken[0]
    print(
        json.dumps({n: {**figures(*taken, rows), "first_s": first_s} for n, taken in best.items()})
    )


def processor_s() -> float:
    """Return the processor time of this process, and of those that read for it."""
    from workbench.archive.processes.pool import POOL

    spent = [Path(f"/proc/{pid}/schedstat").read_text() for pid in POOL.pids()]
    return time.process_time() + sum(int(text.split()[0]) for text in spent) / 1e9


def take(topic, how: str) -> int:
    """Return the number of messages, all read."""
    if how == "batches":
        return sum(batch.num_rows for batch in topic.batches())
    return len(topic.messages() if how == "messages" else topic.read())


def figures(seconds: float, used: float, rows: int) -> dict[str, float]:
    """Return a measurement: messages/s, processor time in us per message, peak memory in MiB."""
    peak_kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    return {
        "rate": rows / seconds,
        "rows": rows,
        "cpu_us": used / rows * 1e6,
        "peak_mib": int(peak_kib) / 1024,
    }


def run(*arguments: str) -> dict[str, dict[str, float]]:
    """Return what a measurement in a process of its own prints."""
    out = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
    )
    figures: dict[str, dict[str, float]] = json.loads(out.stdout.splitlines()[-1])
    return figures


def settle(topic: str, *, trim: bool) -> None:
    """Make the next read come from the storage: drop the broker's cache, and the bookies' copy."""
    from workbench import broker

    path = broker.rest_path(topic)
    if trim:
        broker.check(broker.admin("POST", f"{path}/trim"))
        time.sleep(2)
    broker.check(broker.admin("PUT", f"{path}/unload"))
    time.sleep(2)


def measure(count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return every measurement, by kind and way of reading."""
    from workbench import archive, services
    from workbench.archive import fetch_schemas
    from workbench.endpoints import endpoints, home

    figures: dict[str, dict[str, dict[str, float]]] = {}
    services.up(["s3", "pulsar"], deletion_lag_ms=0)
    places = endpoints()
    topics = {kind: f"persistent://public/default/bench-{kind}-{count}" for kind in KINDS}
    for kind, topic in topics.items():
        say(f"{kind}: sending {count} messages")
        produce(kind, topic, count)
        settle(topic, trim=False)
        figures[kind] = {"bookie": run("--reader", kind, topic)[""]}
        services.offload(topic)
        settle(topic, trim=True)
        say(f"{kind}: reading")
        figures[kind]["tiered"] = run("--reader", kind, topic)[""]
    schemas = home() / "bench-schemas.json"
    known = fetch_schemas(places.admin, list(topics.values()), token=places.broker_token)
    schemas.write_text(json.dumps(known))
    folder = str(next(home().rglob("*-ledger-*-index")).parent)
    for kind, topic in topics.items():
        say(f"{kind}: reading the archive")
        how = "messages" if kind == "bytes" else "read"
        by_cores = run("--archive", how, topic, folder, "1,2", str(schemas))
        figures[kind]["folder"], figures[kind]["folder, 2 cores"] = by_cores["1"], by_cores["2"]
        figures[kind]["s3"] = run("--archive", how, topic, places.archive, "1", str(schemas))["1"]
    figures["json"] |= measure_stand_in(topics["json"], folder, str(schemas))
    again = ("batches", topics["json"], folder, "1", str(schemas))
    figures["json"]["folder, batches()"] = run("--archive", *again)["1"]
    stored = archive.open(folder).topics().set_index("topic")["bytes"]
    for kind, topic in topics.items():
        for way in figures[kind].values():
            way["mb_s"] = way["rate"] * float(stored[topic]) / count / 1e6
    return figures | measure_made(count)


def measure_stand_in(topic: str, folder: str, schemas: str) -> dict[str, dict[str, float]]:
    """Return what reading from the stand-in for S3 takes, by its delay."""
    figures = {}
    for name, delay_ms in DELAYS_MS.items():
        with serving("--delay-ms", delay_ms, "--folder", folder) as endpoint:
            os.environ["AWS_ENDPOINT_URL"] = endpoint
            figures[name] = run("--archive", "read", topic, "s3://b", "1", schemas)["1"]
            del os.environ["AWS_ENDPOINT_URL"]
    return figures


def measure_alone(count: int) -> dict[str, float]:
    """Return what needs no services: two cores, and S3 by the stand-in."""
    topic = "persistent://public/default/t"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_HOME"] = f"{folder}/workbench"
        bucket, schemas = Path(folder) / "bucket", Path(folder) / "schemas.json"
        bucket.mkdir()
        write_json(bucket, payloads("json", count), 1)
        registered = {topic: [{"version": 0, "type": "JSON", "schema": RECORD}]}
        schemas.write_text(json.dumps(registered))
        os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        by_cores = run("--archive", "read", topic, str(bucket), "1,2", str(schemas))
        ways = {"folder": by_cores["1"], "folder, 2 cores": by_cores["2"]}
        ways |= measure_stand_in(topic, str(bucket), str(schemas))
    return ratios(ways)


def ratios(ways: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the ratios of ways to read the JSON messages."""
    rate, rows = ways["folder"]["rate"], ways["folder"]["rows"]
    s3, s3_20ms = ways["s3, stand-in"]["rate"], ways["s3, stand-in, 20 ms"]["rate"]
    return {
        "two_core_ratio": ways["folder, 2 cores"]["rate"] / rate,
        "s3_to_folder": s3 / rate,
        "s3_20ms_to_folder": s3_20ms / rate,
        "s3_20ms_to_ideal": (rows / s3_20ms) / (rows / s3 + 2 * 0.020),
    }


def measure_made(count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return what reading ledgers takes that no broker had."""
    figures = {}
    for kind, write in MADE.items():
        say(f"{kind}: making and reading {count} messages")
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), payloads("json", count))
            stored = sum(path.stat().st_size for path in Path(folder).glob("*-ledger-*"))
            schemas = f"{folder}/schemas.json"
            way = run("--archive", "read", "t", folder, "1", schemas)["1"]
        figures[kind] = {"folder": {**way, "mb_s": way["rate"] * stored / count / 1e6}}
    return figures


def summary(figures: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Return the figures that the goals are about."""
    rates = {kind: figures[kind]["folder"]["rate"] for kind in KINDS}
    against = {kind: rates[kind] / figures[kind]["tiered"]["rate"] for kind in KINDS}
    return {
        "json_rate": rates["json"],
        "avro_rate": rates["avro"],
        "messages_rate": rates["bytes"],
        "json_ratio": against["json"],
        "avro_ratio": against["avro"],
        "messages_ratio": against["bytes"],
        **ratios(figures["json"]),
        "protobuf_rate": figures["protobuf"]["folder"]["rate"],
        "encrypted_rate": figures["encrypted"]["folder"]["rate"],
        "peak_mib": figures["json"]["folder, batches()"]["peak_mib"],
        "first_call_s": max(figures[kind]["folder"]["first_s"] for kind in KINDS),
    }


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr)


def main() -> None:
    """Measure, or be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 messages, not 1,000,000")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--alone", action="store_true", help="what needs no services, as JSON")
    parser.add_argument("--reader", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--archive", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        measure_reader(*options.reader)
    elif options.archive:
        measure_archive(*options.archive)
    elif options.alone:
        print(json.dumps(measure_alone(100_000 if options.quick else 1_000_000)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            os.environ.setdefault("WORKBENCH_HOME", str(Path(folder) / "workbench"))
            from workbench import services

            try:
                figures = measure(100_000 if options.quick else 1_000_000)
            finally:
                services.down()
        show(figures, as_json=options.json)


def show(figures: dict[str, dict[str, dict[str, float]]], *, as_json: bool) -> None:
    """Print the table, or the summary alone."""
    if as_json:
        print(json.dumps(summary(figures)))
        return
    print(
        "| messages | read by | messages/s | MB/s of objects | CPU us/message | peak MiB | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind, ways in figures.items():
        for name, way in ways.items():
            who = f"Reader, {name}" if name in ("bookie", "tiered") else f"archive, {name}"
            ratio = f"{way['rate'] / ways['tiered']['rate']:.1f}" if "tiered" in ways else ""
            print(
                f"| {kind} | {who} | {way['rate']:,.0f} | {way['mb_s']:.1f} "
                f"| {way['cpu_us']:.2f} | {way['peak_mib']:.0f} | {ratio} |"
            )
    print(json.dumps(summary(figures)))


if __name__ == "__main__":
    main()

"""Make the sample in this folder: simulated pumps, through a real broker, offloaded to real S3.

Starts a Pulsar and an S3 endpoint of its own in a temporary folder, and stops them at the end.
Everything is made beside this folder's content and put in its place by rename.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pandas as pd
import s3fs

from workbench import broker, plant, services
from workbench.endpoints import endpoints
from workbench.services import artifacts

HERE = Path(__file__).parent
TOPIC = "persistent://public/default/pumps"
LEDGER_DAYS = 2
README = """# The sample

Two weeks of a small pump station, {readings:,} readings from {pumps} pumps, simulated by
`workbench.plant` (seed 7), then sent through a real broker and offloaded to a real S3 endpoint.
`make sample` made it on {made}.

| | |
|---|---|
| `archive/` | the bucket's {objects} objects of {ledgers} ledgers, unchanged: {size_mib:.1f} MiB |
| `archive/schemas.json` | the topic's schemas, from the broker's REST API: no bucket holds them |
| `labels.csv` | the {faults} faults: sensor, [start, stop), kind, the channels that they move |

Topic `{topic}`: JSON, ZSTD, batched by the client, key = pump, event time = time of the reading; a
ledger for every {ledger_days} days. Readings are in the order of arrival: a few are late, a few
never arrived, a few values are missing. The faults lie in the second week.

Made with Pulsar {pulsar}, its jcloud offloader (driver S3), s3proxy {s3proxy}, pulsar-client
{client}, workbench {workbench}.
"""


def main() -> None:
    """Make the sample, whole or not at all."""
    readings, labels = plant.simulate()
    os.environ["WORKBENCH_HOME"] = temporary = tempfile.mkdtemp(prefix="workbench-sample-")
    fresh = Path(tempfile.mkdtemp(prefix=".sample-", dir=HERE))
    try:
        services.up()
        offloaded = _send(readings)
        bucket = _download(fresh / "archive")
        schemas = _schemas()
        (fresh / "archive" / "schemas.json").write_text(json.dumps(schemas, indent=1) + "\n")
        _write_labels(labels, fresh / "labels.csv")
        _write_readme(fresh / "README.md", readings, labels, offloaded, bucket)
        _replace(fresh)
    finally:
        services.down()
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def _send(readings: pd.DataFrame) -> services.Offload:
    """Send the readings in order of arrival, and close and offload a ledger every two days."""
    newest = readings["event_time"].cummax()
    part = (newest - newest.iloc[0]) // pd.Timedelta(days=LEDGER_DAYS)
    for _, days in readings.groupby(part, sort=True):
        services.ingest_frame(
            days, TOPIC, sensor="pump", time="event_time", values=list(plant.CHANNELS)
        )
        offloaded = services.offload(TOPIC)
    return offloaded


def _download(folder: Path) -> int:
    """Copy every object of the bucket, and return their bytes."""
    places = endpoints()
    store = s3fs.S3FileSystem(
        key=places.s3_key, secret=places.s3_secret, endpoint_url=places.s3_endpoint
    )
    store.get(places.archive.removeprefix("s3://"), str(folder), recursive=True)
    return sum(path.stat().st_size for path in folder.iterdir())


def _schemas() -> dict[str, list[dict[str, object]]]:
    versions = broker.get("/schemas/public/default/pumps/schemas")["getSchemaResponses"]
    return {
        TOPIC: [
            {
                "version": version["version"],
                "type": version["type"],
                "schema": json.loads(version["data"]),
            }
            for version in versions
        ]
    }


def _write_labels(labels: pd.DataFrame, path: Path) -> None:
    table = labels.assign(channels=labels["channels"].map(" ".join))
    table.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")


def _write_readme(
    path: Path, readings: pd.DataFrame, labels: pd.DataFrame, offloaded: services.Offload, size: int
) -> None:
    path.write_text(
        README.format(
            readings=len(readings),
            pumps=readings["pump"].nunique(),
            made=datetime.now(UTC).strftime("%Y-%m-%d"),
            objects=offloaded.objects,
            ledgers=len(offloaded.ledgers),
            size_mib=size / 2**20,
            faults=len(labels),
            topic=TOPIC,
            ledger_days=LEDGER_DAYS,
            pulsar=artifacts.PULSAR,
            s3proxy=artifacts.S3PROXY,
            client=metadata.version("pulsar-client"),
            workbench=metadata.version("workbench"),
        )
    )


def _replace(fresh: Path) -> None:
    for fresh_file in fresh.iterdir():
        target = HERE / fresh_file.name
        old = HERE / f".old-{fresh_file.name}"
        if target.exists():
            target.rename(old)
        fresh_file.rename(target)
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


if __name__ == "__main__":
    main()

"""Spark on two cores beside one process: reading a topic, and scoring it.

    python benchmarks/spark.py [--quick] [--json]

Six pumps, a reading a minute for 180 days (30 with --quick), four columns. Spark has run a query
before, so its JVM and its Python workers are there; so has the other process. Figures:

    rows                  readings
    read_rows_s           rows a second of `Topic.read` in this process, on one core
    spark_rows_s          rows a second that Spark's local[2] reads (its sink `noop`)
    spark_local2_ratio    one over the other
    detect_rows_s         readings a second of `detectors.detect`, PCA, w = 64
    score_rows_s          readings a second of `workbench.spark.score`, read from the archive
    score_local2_ratio    one over the other, the reading counted in both
    load                  of the machine at the start: what else ran, in processes that want a core
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from workbench import archive, detectors, replay
from workbench.services import java
from workbench.spark import PulsarArchive, score

SERVE = runpy.run_path(str(Path(__file__).with_name("serve.py")))
COLUMNS = ["pump", "flow_l_min", "vibration_mm_s", "event_time"]
SPEC = {"name": "pca", "channels": ["flow_l_min", "vibration_mm_s"], "window": 64}


def session(folder: Path) -> SparkSession:
    """Return Spark on two cores of this machine, on loopback."""
    os.environ.setdefault("JAVA_HOME", str(java().parents[1]))
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "2",
    }
    spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    spark.dataSource.register(PulsarArchive)
    return spark


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes the second time."""
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def drained(frame: DataFrame) -> None:
    """Compute all rows, and keep none."""
    frame.write.format("noop").mode("overwrite").save()


def figures(quick: bool) -> Iterator[tuple[str, float]]:
    """Yield each figure."""
    yield "load", os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="spark-") as name:
        bucket = Path(name) / "bucket"
        bucket.mkdir()
        rows = SERVE["write_bucket"](bucket, 30 if quick else 180)
        yield "rows", rows
        topic = archive.open(str(bucket), workers=1).topic("pumps")
        read_s = seconds(lambda: topic.read(columns=COLUMNS))
        few = replay("pumps", "2026-01-06", "2026-01-08", archive=str(bucket))
        detector = detectors.fit(SPEC, few, sensor="pump")
        rule, folder = detectors.EpisodeRule(), Path(name) / "package"
        detectors.save(detector, folder, threshold=5.0, rule=rule, training={})
        package = detectors.load(folder)

        def detect() -> None:
            frame = replay("pumps", archive=str(bucket))
            detectors.detect(package, frame, sensor="pump")

        detect_s = seconds(detect)
        spark = session(Path(name))
        source = spark.read.format("pulsar_archive").option("topic", "pumps")
        columns = ",".join([*COLUMNS, "__message_id__"])
        plain = source.option("columns", ",".join(COLUMNS)).load(str(bucket))
        whole = source.option("columns", columns).load(str(bucket))
        spark_s = seconds(lambda: drained(plain))
        score_s = seconds(lambda: drained(score(whole, package, sensor="pump")))
        spark.stop()
    yield "read_rows_s", rows / read_s
    yield "spark_rows_s", rows / spark_s
    yield "spark_local2_ratio", read_s / spark_s
    yield "detect_rows_s", rows / detect_s
    yield "score_rows_s", rows / score_s
    yield "score_local2_ratio", detect_s / score_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="30 days in place of 180")
    parser.add_argument("--json", action="store_true", help="one object")
    asked = parser.parse_args()
    measured = {name: round(value, 3) for name, value in figures(asked.quick)}
    if asked.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name:20} {value:12,.3f}")


if __name__ == "__main__":
    main()

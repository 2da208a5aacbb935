"""Objects that a real Pulsar offloaded, and the rows that a real client read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _shared():
    if os.environ.get("WORKBENCH_SHARED"):
        return Path(os.environ["WORKBENCH_SHARED"])
    for folder in HERE.parents:
        if (folder / "shared" / "golden").is_dir():
            return folder / "shared"
    return None


class Golden:
    """One case: its bucket, the rows expected, the schemas that the broker kept."""

    def __init__(self, folder):
        self.folder = folder
        self.bucket = str(folder / "bucket")

    def expected(self):
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "expected.parquet")

    def schemas(self):
        files = sorted((self.folder / "broker").glob("schemas_all_versions*.json"))
        by_topic = {}
        for topic in set(self.expected()["topic"].to_pylist()) if files else ():
            stored = json.loads(files[0].read_text())["getSchemaResponses"]
            if stored:
                by_topic[topic] = stored
        return by_topic


@pytest.fixture
def golden():
    """Return the case of a name, from these tests or from ../shared/golden, or skip."""

    def find(name):
        shared = _shared()
        for root in (HERE / "golden", shared / "golden" if shared else HERE):
            if (root / name / "bucket").is_dir():
                return Golden(root / name)
        pytest.skip(f"{name} is not in tests/archive/golden, and there is no ../shared/golden")

    return find


ALONE = """
import resource, sys
from workbench import archive
opened = archive.open(sys.argv[1], workers=1)
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for name in sys.argv[2:]:
    try:
        opened.topic(name).read()
    except Exception as err:
        print(type(err).__name__, str(err).replace(chr(10), " |"), flush=True)
    else:
        print("no error", flush=True)
"""


@pytest.fixture
def errors_of(pulsar, tmp_path):
    """Return what a process of its own, of 3 GiB, says of topics t0, t1, ... of one value each.

    Given the type of their schemas, and the schema and the value of each.
    """

    def errors(kind, cases):
        schemas = {}
        for i, (schema, raw) in enumerate(cases):
            stored = [{"version": 0, "type": kind, "schema": schema}]
            schemas[f"persistent://public/default/t{i}"] = stored
            name = f"public/default/persistent/t{i}"
            pulsar.ledger(tmp_path, [pulsar.entry(raw)], number=i, topic=name)
        (tmp_path / "schemas.json").write_text(json.dumps(schemas))
        done = subprocess.run(
            [sys.executable, "-c", ALONE, str(tmp_path), *schemas],
            capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        return done.stdout.splitlines()

    return errors

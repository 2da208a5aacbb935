"""Objects that a real Pulsar offloaded, and the rows that a real client read."""

import json
import os
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
        found = {}
        for topic in set(self.expected()["topic"].to_pylist()) if files else ():
            stored = json.loads(files[0].read_text())["getSchemaResponses"]
            if stored:
                found[topic] = stored
        return found


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

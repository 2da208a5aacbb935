"""An export that names code to run is refused, and runs nothing (CVE-2023-47248)."""

import subprocess
import sys

import pyarrow as pa
import pytest

WRITE = """
import sys
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

class Named(pa.PyExtensionType):
    def __init__(self):
        pa.PyExtensionType.__init__(self, pa.int64())
    def __reduce__(self):
        return exec, (f"open({sys.argv[2]!r}, 'w')",)

bars = pa.ExtensionArray.from_storage(Named(), pa.array([1, 2], pa.int64()))
times = ["2026-02-13T10:00:00Z", "2026-02-13T10:01:00Z"]
table = pa.table({"time": times, "pump": ["P1", "P1"], "bar": bars})
if sys.argv[1].endswith("parquet"):
    pq.write_table(table, sys.argv[1])
else:
    feather.write_feather(table, sys.argv[1])
"""
READ = "from workbench.cli import main; main()"
COLUMNS = ["--sensor", "pump", "--time", "time", "--values", "bar", "--look"]


@pytest.mark.slow
@pytest.mark.skipif(pa.__version__ >= "14", reason="later ones run nothing")
@pytest.mark.parametrize("name", ["export.parquet", "export.arrow"])
@pytest.mark.parametrize("options", [COLUMNS, []])
def test_an_export_that_names_code_is_refused(tmp_path, name, options):
    path, proof = tmp_path / name, tmp_path / "the code ran"
    write = [sys.executable, "-W", "ignore", "-c", WRITE, path, proof]
    subprocess.run(write, check=True)

    # a process of its own: another test may have imported what forbids it
    command = [sys.executable, "-c", READ, "ingest", path, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert not proof.exists()
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot be read: Disallowed deserialization of 'arrow.py")
    assert done.stderr.endswith(f"  in {path}\n")

"""An Arrow file that names code to run is refused (CVE-2023-47248)."""

import subprocess
import sys

import pyarrow as pa
import pytest

from workbench.runs.execution import spans

WRITE = """
import pickle, sys
import pyarrow as pa

class Named(pa.PyExtensionType):
    def __init__(self):
        pa.PyExtensionType.__init__(self, pa.int64())
    def __reduce__(self):
        return print, ("the code ran",)

array = pa.ExtensionArray.from_storage(Named(), pa.array([1, 2], pa.int64()))
table = pa.table({"a": array})
with pa.OSFile(sys.argv[1], "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
    writer.write_table(table)
"""


@pytest.mark.skipif(pa.__version__ >= "14", reason="later ones run nothing")
def test_a_span_that_names_code_is_refused(tmp_path, capfd):
    command = [sys.executable, "-W", "ignore", "-c", WRITE, tmp_path / "span.arrow"]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "span.json").write_text("{}")

    with pytest.raises(RuntimeError, match=r"Disallowed deserialization of 'arrow.py_extension"):
        spans._read(tmp_path / "span.arrow")

    assert "the code ran" not in capfd.readouterr().out

"""PostgreSQL's JDBC driver, as DBeaver and others have it."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from jgo.maven import MavenContext

from workbench import archive
from workbench.services import jar, java

DRIVER = "42.7.8"
SHA256 = "2a32a9dcbc42d67a50ad3a0de5efd102c8d2be46720045f2cbd6689f160ab7c7"
FIRST = """
    select pump, event_time, vibration_mm_s, count(*) over () as n from pumps
    where event_time >= '2026-01-06T00:00:00Z' and event_time < '2026-01-07T00:00:00Z'
    and pump = 'pump-1' and vibration_mm_s > 0.5 order by event_time limit 1
"""
WHOLE = """
    select count(*) as n, round(sum(flow_l_min)) as total, max(event_time) as latest from pumps
"""


@pytest.fixture(scope="module")
def driver():
    """Return the driver's jar, from the user's Maven cache or by its coordinates."""
    version = MavenContext().project("org.postgresql", "postgresql").at_version(DRIVER)
    path = version.artifact("", "jar").resolve()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    return path


@pytest.mark.slow
@pytest.mark.parametrize("threshold", ["5", "-1"], ids=["text, then binary", "binary"])
def test_jdbc_shows_what_is_there_and_reads_it(serve, driver, threshold):
    server = serve()
    client = jar(Path(__file__).parent / "java", [driver])
    port = str(server.server_address[1])

    order = [java(), "-cp", f"{client}:{driver}", "Client", port, threshold]
    plain = {name: value for name, value in os.environ.items() if name != "JAVA_TOOL_OPTIONS"}
    done = subprocess.run(
        list(map(str, order)), capture_output=True, text=True, timeout=300, env=plain
    )

    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "catalog archive",
        "schema information_schema",
        "schema pg_catalog",
        "schema public",
        "table public pumps TABLE",
    ]
    assert "column 1 pump text 12" in lines
    assert "column 5 vibration_mm_s float8 8" in lines
    assert "column 7 event_time timestamptz 93" in lines
    none = ("primary keys", "imported keys", "exported keys", "indexes", "row ids", "procedures")
    assert {f"{name} 0" for name in (*none, "functions", "types of users", "views")} <= set(lines)
    assert "PostgreSQL true" in lines
    assert_read(lines, archive.open(server.url))


def assert_read(lines, history):
    """Compare the rows that were printed with those that the archive gives."""
    row, whole = (archive.table(history, text).to_pylist()[0] for text in (FIRST, WHOLE))
    first, latest = (
        at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in (row["event_time"], whole["latest"])
    )
    read = f"row {row['pump']} {first} {row['vibration_mm_s']} {row['n']}"
    assert lines.count(f"{read} as timestamptz java.lang.Double") == 7
    assert f"latest {latest} {latest} {latest}" in lines
    assert lines[-1] == f"rows {whole['n']} {whole['total']:.0f}"

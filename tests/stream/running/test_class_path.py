"""A JVM for Flink leaves the classes that it loaded to the next."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench import files
from workbench.stream.running import class_path

# Plans and runs a query; says what it gave, and whether its JVM had classes of one before it.
JOB = """
import psutil
from pyflink.java_gateway import get_gateway
from workbench.stream.running.class_path import job_ran
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.running.job import environment

env = environment(brief=True, pipeline__jars=function_jar().as_uri())
rows = env.execute_sql("SELECT SUM(x) FROM (VALUES 1, 2, 39) AS t (x)")
with rows.collect() as results:
    *_, newest = [row[0] for row in results]
job_ran()
(jvm,) = [one for one in psutil.Process().children() if one.name() == "java"]
java = get_gateway().jvm
actors = java.org.apache.flink.runtime.rpc.RpcSystem.load().getClass().getSimpleName()
jars = [*filter(None, java.System.getProperty("java.class.path").split(":"))]
scala = [jar for jar in jars if jar.rpartition("/")[2].startswith(("flink-rpc", "flink-scala"))]
*flink, python, more = jars
assert flink == sorted(flink) and "rpc" in scala[0], jars
assert ("flink-python" in python, more) == (True, str(function_jar())), jars
assert env.get_config().get("pipeline.jars", "none") == "none"
shared = any("flink-classes-" in one.path and ".jsa" in one.path for one in jvm.memory_maps())
print(actors, newest, shared)
"""
WHOLE = class_path._MAGIC + b"the rest"


def job(cache):
    done = subprocess.run(
        [sys.executable, "-c", JOB],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def set_up(cache):
    """Give what `workbench stream setup` says."""
    done = subprocess.run(
        [sys.executable, "-c", "from workbench.cli import main; main()", "stream", "setup"],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.flink
@pytest.mark.timeout(400)
def test_the_setup_leaves_the_classes_of_a_jvm_to_all_others(tmp_path):
    said = set_up(tmp_path)
    (folder,) = (tmp_path / "workbench").glob("flink-classes-*/jobs-*")
    classes = folder / "classes.jsa"
    expected = [
        f"Flink's jobs run on {sys.executable}",
        f"their JVMs start from {classes}",
    ]
    assert said == expected
    written = classes.stat()

    assert job(tmp_path) == ["PekkoRpcSystem 42 True"]  # Flink's own loader gives a wrapped one
    assert set_up(tmp_path) == expected
    assert (classes.stat().st_ino, classes.stat().st_size) == (written.st_ino, written.st_size)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["classes.jsa", "classes.ran"]


def test_only_one_jvm_at_a_time_leaves_its_classes(tmp_path):
    first, second = class_path.sharing(tmp_path), class_path.sharing(tmp_path)

    assert first[0] == f"-XX:ArchiveClassesAtExit={tmp_path}/classes.part"
    assert second == []


def test_one_that_never_ends_leaves_it_to_another_after_an_hour(tmp_path):
    part = tmp_path / "classes.part"
    part.touch()
    os.utime(part, (0, time.time() - 3601))

    assert class_path.sharing(tmp_path)[0].startswith("-XX:ArchiveClassesAtExit=")


def test_classes_are_taken_once_they_are_all_there(tmp_path):
    part = tmp_path / "classes.part"
    part.write_bytes(b"\0" * 8)  # HotSpot writes the head last
    assert class_path.sharing(tmp_path) == []

    part.write_bytes(WHOLE)
    part.with_suffix(".ran").touch()
    assert class_path.sharing(tmp_path)[0] == f"-XX:SharedArchiveFile={tmp_path}/classes.jsa"
    assert not part.exists()
    assert (tmp_path / "classes.jsa").read_bytes() == WHOLE


def test_classes_of_a_jvm_that_ran_no_job_are_left_to_the_next(tmp_path):
    part, ran = tmp_path / "classes.part", tmp_path / "classes.ran"
    first = class_path.sharing(tmp_path)
    part.write_bytes(WHOLE)  # it ended: its SQL was refused, say
    class_path._claimed.clear()

    second = class_path.sharing(tmp_path)
    assert first == second == [f"-XX:ArchiveClassesAtExit={part}", class_path._QUIET]
    assert not ran.exists()
    class_path.job_ran()
    part.write_bytes(WHOLE)
    assert class_path.sharing(tmp_path)[0] == f"-XX:SharedArchiveFile={tmp_path}/classes.jsa"


def test_neither_a_blank_in_a_path_nor_a_full_disk_keeps_a_job_from_starting(tmp_path, monkeypatch):
    blank = tmp_path / "my home"
    blank.mkdir()
    (blank / "classes.jsa").write_bytes(WHOLE)
    assert class_path.sharing(blank) == []

    monkeypatch.setattr(class_path, "_ROOM_BYTES", 1 << 62)
    assert class_path.sharing(tmp_path) == []


@pytest.mark.slow  # it compiles our jar for PyFlink's
def test_a_cache_that_is_only_read_and_one_that_is_being_filled_keep_no_job_from_starting(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JVM_ARGS", raising=False)
    cache = class_path.python_jar().parent
    (cache / "flink-classes.lock").mkdir()  # root may write wherever it is forbidden: so it may not

    (jar,) = Path(class_path.class_path()["FLINK_OPT_DIR"]).iterdir()
    assert jar.resolve() == class_path.python_jar().resolve()
    assert tmp_path / "home" in jar.parents

    (cache / "flink-classes.lock").rmdir()
    with files.locked(cache / "lock"):  # another downloads
        given = class_path.class_path()
    for inner in (class_path._PLANNER, class_path._ACTORS):
        assert (Path(given["FLINK_LIB_DIR"]) / inner).is_file()


def test_what_is_of_no_use_any_more_is_removed(tmp_path):
    gone, unused, used = (tmp_path / f"flink-classes-{name}" for name in "123")
    for folder in (gone, unused, used):
        (folder / "lib").mkdir(parents=True)
        (folder / "lib" / "flink.jar").symlink_to(__file__ if folder != gone else tmp_path / "no")
        (folder / "classes.jsa").write_bytes(WHOLE)
    os.utime(unused / "classes.jsa", (0, time.time() - 31 * 86_400))

    class_path._tidy(tmp_path)

    assert not gone.exists()
    assert [path.name for path in unused.iterdir()] == ["lib"]
    assert (used / "classes.jsa").read_bytes() == WHOLE

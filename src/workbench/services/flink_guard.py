"""PyFlink's jar with three classes of ours in it, so that its ports let only their owner in.

Released, Flink waits for its Python workers on random ports of every interface, takes the commands
of Python from everybody on the machine, and its REST API takes jobs from everybody and from every
page in a browser. What stands in `java/python` mends that, and says how. Where a cluster or who
asks one has `PASSWORD_FILE` among its settings, its REST API wants what stands in that file.
"""

from __future__ import annotations

import secrets
from importlib.metadata import distribution
from pathlib import Path

from workbench import files
from workbench.endpoints import home
from workbench.flink_rest import USER
from workbench.services.compilation import flink_jars, jar

PASSWORD_FILE = "workbench.rest.password-file"  # noqa: S105 - a setting of Flink's
_SOURCES = Path(__file__).parent / "java" / "python"


def password_file(name: str, password: str = "") -> Path:
    """Write a file with user and password, for `PASSWORD_FILE`; without one, with a new one."""
    path = home().resolve() / "flink" / f"{name}-rest-password"
    return files.write_text(path, f"{USER}:{password or secrets.token_hex(20)}\n", mode=0o600)


def python_jar() -> Path:
    """Return the jar that stands in for PyFlink's, made if it is new.

    Raises
    ------
    ServicesError
        If it does not compile, or the compiler is not cached and cannot be downloaded.
    """
    (released,) = Path(str(distribution("apache-flink").locate_file("pyflink/opt"))).glob(
        "flink-python-*.jar"
    )
    return jar(_SOURCES, [released, *flink_jars("flink-dist-*.jar")], into=released)


__all__ = ["PASSWORD_FILE", "password_file", "python_jar"]

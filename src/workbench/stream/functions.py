"""What the job needs besides Flink and Python: a few Java classes, in a jar of their own.

`java/` holds an aggregate function, the windows of the job, and a JSON format that says of a
message why it is no reading. They are compiled once per version, into the user's cache.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from workbench import services
from workbench.errors import StreamError
from workbench.services.artifacts import cache, fetch, locked

JAVA = {  # SQL name: class in `java/`
    "last_readings": "LastReadings",
    "readings_since": "ReadingsSince",
    "message_id_text": "MessageIdText",
    "seconds_since_last": "SecondsSinceLast",
    "change_per_s": "ChangePerSecond",
}
_SOURCES = Path(__file__).with_name("java")
_ON_PATH = ("flink-dist-*.jar", "flink-table-api-java-uber-*.jar")


def job_jars() -> list[Path]:
    """Return every jar that a job needs: Pulsar's connector, and the one of `function_jar`."""
    return [*services.connector_jars(), function_jar()]


def function_jar() -> Path:
    """Return the jar with the classes in `java/`, compiled if they are new.

    Raises
    ------
    ServicesError
        If the compiler is not cached and cannot be downloaded.
    StreamError
        If the classes do not compile.
    """
    files = sorted(path for path in _SOURCES.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    target = cache() / f"workbench-stream-{digest}.jar"
    if not target.is_file():
        compiler = fetch("compiler")
        with locked(), tempfile.TemporaryDirectory(dir=cache(), prefix="compile-") as folder:
            _compile(Path(folder) / "classes", compiler)
            _pack(Path(folder) / "classes", Path(folder) / target.name)
            (Path(folder) / target.name).replace(target)
    return target


def _compile(classes: Path, compiler: list[Path]) -> None:
    lib = Path(str(distribution("apache-flink").locate_file("pyflink"))) / "lib"
    on_path = ":".join(str(jar) for pattern in _ON_PATH for jar in lib.glob(pattern))
    options = ["-11", "-nowarn", "-cp", on_path, "-d", str(classes)]
    sources = [str(one) for one in sorted(_SOURCES.glob("*.java"))]
    command = [str(services.java()), "-jar", str(compiler[0]), *options, *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise StreamError(
            f"the classes of the job do not compile: {done.stderr.strip()}", where=_SOURCES
        )


def _pack(classes: Path, jar: Path) -> None:
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as packed:
        for root, pattern in ((classes, "*.class"), (_SOURCES, "META-INF/**/*")):
            for path in sorted(root.rglob(pattern)):
                if path.is_file():
                    packed.write(path, path.relative_to(root))


__all__ = ["JAVA", "function_jar", "job_jars"]

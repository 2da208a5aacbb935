"""The Pulsar connector for Flink, with three of its classes replaced.

The released connector loses readings when it is restored within a batch (FLINK-36180) and counts
readings twice when a broker restarts under it. What stands in `java/` mends both, and says how; it
is compiled once, into a copy of the connector's jar. A connector that is mended upstream needs
this module no more.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from workbench.errors import ServicesError
from workbench.services.artifacts import cache, fetch, locked
from workbench.services.jdk import java

POSITIONING = "workbench-position"  # consumer of `java/CursorPosition`, there for a moment
_SOURCES = Path(__file__).with_name("java")


def connector_jars() -> list[Path]:
    """Return the jars that Flink needs to read and write Pulsar, for `pipeline.jars`.

    Raises
    ------
    ServicesError
        If they are not cached and cannot be downloaded, or are not what was pinned.
    """
    released, *others = fetch("connector")
    target = cache() / f"{released.stem}-{_digest(released)}.jar"
    if not target.is_file():
        compiler = fetch("compiler")
        with locked(), tempfile.TemporaryDirectory(dir=cache(), prefix="compile-") as folder:
            classes, new = Path(folder) / "classes", Path(folder) / target.name
            _compile(classes, [released, *others], compiler)
            _replace_classes(released, classes, new)
            new.replace(target)
    return [target, *others]


def _digest(released: Path) -> str:
    """Return what tells one build from another: the sources, and the released jar's name."""
    digest = hashlib.sha256(released.name.encode())
    for source in sorted(_SOURCES.glob("*.java")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _compile(classes: Path, connector: list[Path], compiler: list[Path]) -> None:
    flink = Path(str(distribution("apache-flink").locate_file("pyflink"))) / "lib"
    on_path = ":".join(map(str, [*connector, *flink.glob("flink-dist-*.jar")]))
    command = [java(), "-jar", compiler[0], "-11", "-nowarn", "-cp", on_path, "-d", classes]
    done = subprocess.run(
        [*map(str, command), *map(str, sorted(_SOURCES.glob("*.java")))],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServicesError(
            f"the connector's classes do not compile: {done.stderr.strip()}",
            where=_SOURCES,
            hint="were they written for another version of the connector?",
        )


def _replace_classes(released: Path, classes: Path, new: Path) -> None:
    """Write a copy of a jar in which our classes, and those within them, stand for its own."""
    ours = {str(one.relative_to(classes)): one for one in sorted(classes.rglob("*.class"))}
    stems = {name.removesuffix(".class") for name in ours}
    with zipfile.ZipFile(released) as old, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as jar:
        for item in old.infolist():
            if item.filename.removesuffix(".class").split("$")[0] not in stems:
                jar.writestr(item, old.read(item))
        for name, path in ours.items():
            jar.write(path, name)


__all__ = ["POSITIONING", "connector_jars"]

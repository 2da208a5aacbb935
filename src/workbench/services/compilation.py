"""The few Java classes of ours, compiled once per version into jars in the user's cache."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

from workbench import files
from workbench.errors import ServicesError
from workbench.services.artifacts import ECJ, cache, fetch, locked
from workbench.services.jdk import complaint, java


def flink_jars(*patterns: str) -> list[Path]:
    """Return jars of PyFlink's own by the pattern of their names, to compile against."""
    lib = Path(str(distribution("apache-flink").locate_file("pyflink"))) / "lib"
    return [jar for pattern in patterns for jar in sorted(lib.glob(pattern))]


def jar(sources: Path, class_path: Sequence[Path], *, into: Path | None = None) -> Path:
    """Return a jar of the classes below a folder, compiled if they are new.

    Parameters
    ----------
    sources
        Holds `*.java`, and what else belongs into the jar in `META-INF`.
    class_path
        Jars to compile against.
    into
        A jar whose classes they replace: the answer is a copy of it with ours in it.

    Raises
    ------
    ServicesError
        If they do not compile, or the compiler is not cached and cannot be downloaded.
    """
    stem = into.stem if into else f"workbench-{sources.name}"
    target = cache() / f"{stem}-{_digest(sources, class_path)}.jar"
    if not target.is_file():
        compiler = fetch("compiler")
        with locked(), tempfile.TemporaryDirectory(dir=cache(), prefix="compile-") as folder:
            classes, new = Path(folder) / "classes", Path(folder) / target.name
            _compile(sources, class_path, compiler, classes)
            _pack(sources, classes, into, new)
            files.put(new, target)
    return target


def _digest(sources: Path, class_path: Sequence[Path]) -> str:
    """Return what tells one build from another: sources, compiler, and the jars' names."""
    digest = hashlib.sha256("\n".join([ECJ, *(one.name for one in class_path)]).encode())
    for path in sorted(one for one in sources.rglob("*") if one.is_file()):
        digest.update(str(path.relative_to(sources)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _compile(
    sources: Path, class_path: Sequence[Path], compiler: Sequence[Path], classes: Path
) -> None:
    on_path = ":".join(map(str, class_path))
    command = [java(), "-jar", compiler[0], "-11", "-nowarn", "-cp", on_path, "-d", classes]
    done = subprocess.run(
        [*map(str, command), *map(str, sorted(sources.glob("*.java")))],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServicesError(
            f"Java classes do not compile: {complaint(done.stderr)}",
            where=sources,
            hint="were they written for another version of what they use?",
        )


def _pack(sources: Path, classes: Path, into: Path | None, new: Path) -> None:
    ours = {str(one.relative_to(classes)): one for one in sorted(classes.rglob("*.class"))}
    for path in sorted(sources.glob("META-INF/**/*")):
        if path.is_file():
            ours[str(path.relative_to(sources))] = path
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as packed:
        if into:
            _copy_others(into, set(ours), packed)
        for name, path in ours.items():
            packed.write(path, name)


def _copy_others(released: Path, ours: set[str], packed: zipfile.ZipFile) -> None:
    """Copy a jar but for the classes that ours replace, and those within them."""
    stems = {name.removesuffix(".class") for name in ours}
    with zipfile.ZipFile(released) as old:
        for item in old.infolist():
            if item.filename.removesuffix(".class").split("$")[0] not in stems:
                packed.writestr(item, old.read(item))


__all__ = ["flink_jars", "jar"]

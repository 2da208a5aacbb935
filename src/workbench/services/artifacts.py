"""What the services are made of: pinned versions, downloaded once, checked by sha256.

Everything is found by its Maven coordinates through `jgo`, in the user's Maven cache (`M2_REPO`,
or `~/.m2/repository`); what must be unpacked is unpacked once, in `~/.cache/workbench`. Versions
stand here and nowhere else. After a change of one, `python -m workbench.services.artifacts`
resolves the dependencies anew and writes `artifacts.lock`, which pins every file with its size
and sha256. Nothing that is not in that file is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from tqdm import tqdm

from workbench import files
from workbench.errors import ServicesError

if TYPE_CHECKING:
    from jgo.maven import Artifact as MavenArtifact
    from jgo.maven import MavenContext

PULSAR = "4.0.8"
S3PROXY = "4.1.0"
FLINK = "1.20.5"
CONNECTOR = "4.1.0-1.18"  # the newest that Maven Central has; 4.2.0-1.20 is announced
KAFKA = "3.9.1"
KAFKA_CONNECTOR = "3.4.0-1.20"
OPERATOR = "1.10.0"  # of Flink on Kubernetes; its API jar holds the schema that a deployment has
ECJ = "3.37.0"  # the newest line that writes classes for, and runs on, Java 17

# group: (coordinates, whether their dependencies come along)
GROUPS: dict[str, tuple[list[str], bool]] = {
    "pulsar": ([f"org.apache.pulsar:pulsar-server-distribution:{PULSAR}:bin:tar.gz"], False),
    "offloader": ([f"org.apache.pulsar:tiered-storage-jcloud:{PULSAR}"], False),
    # Jackson 3 within s3proxy needs annotations that its own resolution does not bring
    "s3proxy": (
        ["com.fasterxml.jackson.core:jackson-annotations:2.21", f"org.gaul:s3proxy:{S3PROXY}"],
        True,
    ),
    # what else it names is for encryption, and for a broker's plug-ins
    "client": (
        [
            f"org.apache.pulsar:pulsar-client:{PULSAR}",
            f"org.apache.pulsar:pulsar-client-api:{PULSAR}",
            f"org.apache.pulsar:pulsar-client-admin-api:{PULSAR}",
            "io.opentelemetry:opentelemetry-api:1.45.0",
            "io.opentelemetry:opentelemetry-api-incubator:1.45.0-alpha",
            "io.opentelemetry:opentelemetry-context:1.45.0",
            "org.slf4j:slf4j-api:2.0.13",
            "com.fasterxml.jackson.core:jackson-annotations:2.17.2",
            "com.google.protobuf:protobuf-java:3.25.5",  # stands in the signature of a method
        ],
        False,
    ),
    "connector": (
        [
            f"org.apache.flink:flink-connector-pulsar:{CONNECTOR}",
            f"org.apache.flink:flink-connector-base:{FLINK}",
        ],
        True,
    ),
    "kafka": ([f"org.apache.kafka:kafka_2.13:{KAFKA}", "org.slf4j:slf4j-reload4j:1.7.36"], True),
    "kafka-connector": (
        [
            f"org.apache.flink:flink-connector-kafka:{KAFKA_CONNECTOR}",
            f"org.apache.flink:flink-connector-base:{FLINK}",
            f"org.apache.kafka:kafka-clients:{KAFKA}",
        ],
        True,
    ),
    "compiler": ([f"org.eclipse.jdt:ecj:{ECJ}"], False),  # of Java; the JDK wheel has none
    "operator": ([f"org.apache.flink:flink-kubernetes-operator-api:{OPERATOR}"], False),
}
_PROVIDED = {"org.slf4j:slf4j-api"}  # Flink has its own; s3proxy's stays
_LOCK = Path(__file__).with_name("artifacts.lock")
_DOWNLOADS = 8  # at a time


@dataclass(frozen=True)
class Pin:
    """One file: its Maven coordinates, size in bytes and sha256."""

    coordinates: str  # group:artifact:version[:classifier[:packaging]]
    size: int
    sha256: str


def cache() -> Path:
    """Return the user's folder for what is unpacked: `XDG_CACHE_HOME`, or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workbench"


def pulsar_home() -> Path:
    """Return the unpacked Pulsar distribution, shared by all projects of this user."""
    target = cache() / f"pulsar-{PULSAR}"
    if target.is_dir():
        return target
    archive, *_ = fetch("pulsar")
    with locked(), tempfile.TemporaryDirectory(dir=cache(), prefix="unpack-") as folder:
        if not target.is_dir():
            _unpack(archive, Path(folder))
            (unpacked,) = Path(folder).iterdir()
            files.put(unpacked, target)
    return target


def function_packages() -> Path:
    """Return the folder of what Python functions need, installed by pip, each file by its sha256.

    Raises
    ------
    ServicesError
        If pip cannot install them.
    """
    pins = Path(__file__).with_name("functions.txt")
    target = cache() / f"functions-{_sha256(pins)[:16]}"
    if target.is_dir():
        return target
    with locked(), tempfile.TemporaryDirectory(dir=cache(), prefix="install-") as folder:
        if not target.is_dir():
            packages = Path(folder) / "packages"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            order = ["--require-hashes", "--requirement", str(pins), "--target", str(packages)]
            done = subprocess.run([*pip, *order], capture_output=True, text=True)
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise ServicesError(f"pip fails: {' '.join(last)}", where=pins)
            files.put(packages, target)
    return target


def _unpack(archive: Path, folder: Path) -> None:
    bar = tqdm(desc=f"unpacking {archive.name}", unit=" files", disable=None)
    with bar, tarfile.open(archive) as tar:
        for member in tar:
            tar.extract(member, folder, filter="data")
            bar.update()


def fetch(group: str) -> list[Path]:
    """Return the files of one of `GROUPS`, in class path order, downloaded if need be.

    Raises
    ------
    ServicesError
        If a file cannot be downloaded, or its sha256 is not the pinned one.
    """
    pins = pinned(group)
    with locked():
        missing = [pin for pin in pins if not is_intact(pin)]
        if missing:
            _download(group, missing)
    return [_path(pin) for pin in pins]


def pinned(group: str) -> list[Pin]:
    """Return what `artifacts.lock` pins for one of `GROUPS`, in class path order.

    Raises
    ------
    ServicesError
        If the versions in this module are not those that the file was made for.
    """
    sections = _LOCK.read_text(encoding="utf-8").split("\n\n")
    roots = " ".join(GROUPS[group][0])
    for section in sections:
        head, *lines = section.strip().splitlines()
        if head == f"[{group}] {roots}":
            return [_pin(line) for line in lines]
    raise ServicesError(
        f"nothing is pinned for {roots}",
        where=_LOCK,
        hint="after a change of version: python -m workbench.services.artifacts",
    )


def _pin(line: str) -> Pin:
    sha256, size, coordinates = line.split()
    return Pin(coordinates, int(size), sha256)


def _path(pin: Pin, context: MavenContext | None = None) -> Path:
    path: Path = _artifact(pin.coordinates, context or _maven().MavenContext()).cached_path
    return path


def _maven() -> Any:
    """Return the library that knows Maven, which the core of this package does without."""
    try:
        from jgo import maven
    except ImportError as err:
        raise ServicesError(
            "jgo is not installed, which finds servers and jars by their Maven coordinates",
            hint="pip install workbench[services]",
        ) from err
    return maven


def _artifact(coordinates: str, context: MavenContext) -> MavenArtifact:
    group, name, version, *rest = coordinates.split(":")
    classifier, packaging = rest or ("", "jar")
    return context.project(group, name).at_version(version).artifact(classifier, packaging)


def is_intact(pin: Pin) -> bool:
    """Tell whether a file is cached, and is what was pinned."""
    path = _path(pin)
    return path.is_file() and path.stat().st_size == pin.size and _sha256(path) == pin.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(group: str, missing: list[Pin]) -> None:
    total = sum(pin.size for pin in missing)
    with (
        tqdm(
            total=total, desc=f"downloading {group}", unit="B", unit_scale=True, disable=None
        ) as bar,
        ThreadPoolExecutor(_DOWNLOADS) as pool,
    ):
        for _ in pool.map(lambda pin: _download_one(pin, bar.update), missing):
            pass


def _download_one(pin: Pin, update: Callable[[int], object]) -> None:
    @contextlib.contextmanager
    def progress(_name: str, _size: int) -> Iterator[Callable[[int], object]]:
        yield update

    resolver = _maven().PythonResolver(progress_callback=progress)
    context = _maven().MavenContext(resolver=resolver, timeout=30)
    path = _path(pin, context)
    path.unlink(missing_ok=True)  # cut short by a crash, or damaged
    try:
        _artifact(pin.coordinates, context).resolve()
    except (requests.RequestException, RuntimeError, OSError) as err:
        path.unlink(missing_ok=True)
        raise ServicesError(
            f"cannot download {pin.coordinates}: {_short(err)}",
            where=", ".join(context.remote_repos.values()),
            hint="is there a network, and does it need a proxy (HTTPS_PROXY)?",
        ) from err
    digest = _sha256(path)
    if digest != pin.sha256:
        path.unlink()
        raise ServicesError(
            f"{pin.coordinates} has sha256 {digest}, pinned is {pin.sha256}",
            where=path,
            hint="it was damaged or replaced on the way, and is removed: try again",
        )


def _short(err: Exception) -> str:
    return type(err).__name__ if isinstance(err, requests.RequestException) else str(err)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time download or unpack; a crash releases it."""
    with files.locked(cache() / "lock"):
        yield


def lock() -> str:
    """Return the text of `artifacts.lock` for the versions above: needs the network."""
    return "\n\n".join(_lock_group(group) for group in GROUPS) + "\n"


def _lock_group(group: str) -> str:
    roots, with_dependencies = GROUPS[group]
    context = _maven().MavenContext(timeout=30)
    artifacts = {root: _artifact(root, context) for root in roots}
    taken = {root.rsplit(":", 1)[0] for root in roots}
    if with_dependencies:
        for root in roots:
            dependency = context.create_dependency(root)
            _, found = context.resolver.resolve([dependency])
            for result in found:
                name = f"{result.groupId}:{result.artifactId}"
                if name not in taken and not (group.endswith("connector") and name in _PROVIDED):
                    taken.add(name)
                    artifacts[f"{name}:{result.version}"] = result.artifact
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        paths = list(pool.map(lambda artifact: artifact.resolve(), artifacts.values()))
    lines = [
        f"{_sha256(path)} {path.stat().st_size} {coordinates}"
        for coordinates, path in zip(artifacts, paths, strict=True)
    ]
    return "\n".join([f"[{group}] {' '.join(roots)}", *lines])


if __name__ == "__main__":
    text = lock()
    files.write_text(_LOCK, text)
    sys.stderr.write(f"{_LOCK}: {text.count(chr(10)) - 2 * len(GROUPS)} files\n")

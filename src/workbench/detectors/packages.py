"""Detector packages: a folder of two files, from which nothing can run.

    detector.json   format, class (from a closed table), specification, threshold, rule, training
                    manifest, versions; dtype and shape of every array; SHA-256 of arrays.npz
    arrays.npz      a zip of plain .npy members, stored, none of them pickled

The id of a package is the SHA-256 of its detector.json, and so of all its bytes. Loading reads
each file once, and hashes and parses those same bytes. In this order it checks: the folder holds
these two regular files and nothing else; sizes; the JSON; hash and layout of the arrays, before any
is made; the specification against the catalogue; the state against the method; and last the golden
windows, which must score as they did when the package was written.

It does not sign: who may write to the store decides what is in it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from workbench import files
from workbench.arrays import Floats
from workbench.cards import Card, HasCard
from workbench.detectors import plain_json
from workbench.detectors.alarms import EpisodeRule
from workbench.detectors.fitted import GOLDEN, Fitted
from workbench.detectors.npz import pack, unpack
from workbench.detectors.specs import method_of, resolve
from workbench.errors import DetectorError, PackageError

FORMAT, LEVELED = 1, 2  # LEVELED: with level: sensor, which an older reader would not heed
NAMES = ("detector.json", "arrays.npz")
_MOST = {"detector.json": 2 << 20, "arrays.npz": 512 << 20}  # bytes
_KEYS = {
    "format", "class", "spec", "threshold", "rule", "training", "versions", "arrays",
    "arrays_sha256",
}  # fmt: skip
_CLASSES = {"Fitted": Fitted}
_LIBRARIES = ("workbench", "numpy", "pyod", "scikit-learn")
_RTOL = 1e-9
_MOST_SAID = 3000  # characters of a message: what it quotes comes from outside
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MemoryError)


@dataclass(frozen=True, eq=False)
class Package(HasCard):
    """A loaded detector package.

    Attributes
    ----------
    id
        SHA-256, 64 hex digits; people are shown the first 16.
    threshold
        A score above it counts for an alarm.
    rule
        When an alarm is set and reset.
    max_span_s
        The gap rule; None: any gap.
    spec
        The resolved specification.
    training
        Manifest of the data it was fitted on.
    versions
        Of the libraries that wrote it.
    """

    id: str
    detector: Fitted
    threshold: float
    rule: EpisodeRule
    spec: Mapping[str, Any]
    training: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def max_span_s(self) -> float | None:
        """The longest time across a window, in seconds; None: any."""
        return self.detector.max_span_s

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        trained = {name: self.training.get(name) for name in ("topic", "start", "stop")}
        facts = {
            "detector": self.spec["name"],
            "channels": self.detector.channels,
            "window": f"{self.detector.window} readings",
            "threshold": self.threshold,
            "alarm": f"{self.rule.k} of {self.rule.n} readings above, "
            f"reset after {self.rule.m} not above",
            "trained on": {name: fact for name, fact in trained.items() if fact},
            "versions": self.versions,
        }
        return Card("detector package", self.id[:16], facts)


def save(
    detector: Fitted,
    folder: str | Path,
    *,
    threshold: float,
    rule: EpisodeRule,
    training: Mapping[str, Any],
    spec: Mapping[str, Any] | None = None,
) -> str:
    """Write a package, whole or not at all, and return its id.

    Parameters
    ----------
    folder
        Where; a package that is there already is replaced, anything else is not.
    threshold
        A score above it counts for an alarm.
    training
        Manifest of the training data, as plain JSON.
    spec
        What the detector was fitted from, to be checked against what it says itself.

    Raises
    ------
    PackageError
        If something is not finite or not JSON, no score can pass the threshold, the folder holds
        other things, or `spec` differs.
    """
    if spec is not None and resolve(spec) != detector.spec:
        raise PackageError("the specification given is not the one that the detector was fitted by")
    if not math.isfinite(threshold):
        raise PackageError(f"the threshold is {threshold}, expected a number")
    check_passable(detector, threshold)
    folder = Path(folder)
    if folder.exists() and not {path.name for path in folder.iterdir()} <= set(NAMES):
        raise PackageError("the folder holds other files than a package's", where=folder)
    contents = _files(detector, float(threshold), rule, training)
    with files.new_folder(folder) as part:
        for name, content in contents.items():
            files.write_bytes(part / name, content)
    return hashlib.sha256(contents["detector.json"]).hexdigest()


def _files(
    detector: Fitted, threshold: float, rule: EpisodeRule, training: Mapping[str, Any]
) -> dict[str, bytes]:
    arrays = {f"state.{name}": array for name, array in detector.state.items()}
    arrays |= {
        "golden.windows": detector.golden,
        "golden.scores": detector.golden_scores(),
    }
    packed, layout = pack(arrays)
    document = {
        "format": LEVELED if detector.levels else FORMAT,
        "class": "Fitted",
        "spec": detector.spec,
        "threshold": threshold,
        "rule": asdict(rule),
        "training": training,
        "versions": {name: version(name) for name in _LIBRARIES},
        "arrays": layout,
        "arrays_sha256": hashlib.sha256(packed).hexdigest(),
    }
    try:
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise PackageError(f"the package is not plain JSON: {err}") from err
    return {"detector.json": text.encode(), "arrays.npz": packed}


def check_passable(detector: Fitted, threshold: float) -> None:
    """Refuse a threshold that no fault of any size can pass.

    Raises
    ------
    PackageError
        If it is at the detector's ceiling, or above.
    """
    if threshold >= detector.ceiling:
        raise PackageError(
            f"no score passes the threshold {threshold:g}: detector {detector.spec['name']} gives "
            f"{detector.ceiling:g} at most",
            hint="train on a span without the fault, with a longer window, or with features that "
            "see level or size",
        )


def load(folder: str | Path, *, package_id: str | None = None) -> Package:
    """Return the package in a folder, refused unless it is whole, known and scores as it did.

    Parameters
    ----------
    package_id
        The id that it must have; the first digits will do.

    Raises
    ------
    PackageError
        On anything that is not exactly what `save` writes; nothing has run then.
    """
    return load_with_bytes(folder, package_id=package_id)[0]


def load_with_bytes(
    folder: str | Path, *, package_id: str | None = None
) -> tuple[Package, dict[str, bytes]]:
    """Return the package in a folder, and by name the very bytes that were checked.

    Parameters and errors are those of `load`.
    """
    folder = Path(folder)
    contents = _read(folder)
    digest = hashlib.sha256(contents["detector.json"]).hexdigest()
    if package_id is not None and not digest.startswith(package_id):
        raise PackageError(
            f"the package is {digest[:16]}, expected {package_id[:16]}", where=folder
        )
    try:
        document = _parse(contents["detector.json"])
        if hashlib.sha256(contents["arrays.npz"]).hexdigest() != document["arrays_sha256"]:
            raise PackageError("arrays.npz is not the file that detector.json was written with")
        arrays = unpack(contents["arrays.npz"], document["arrays"])
        return _package(digest, document, arrays), contents
    except (PackageError, DetectorError) as err:
        raise PackageError(_shortened(err.message), where=folder, hint=err.hint) from err
    except _UNFORESEEN as err:
        said = _shortened(f"{type(err).__name__}: {err}")
        raise PackageError(
            f"save would not have written this package: {said}", where=folder
        ) from err


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]} ..."


def _read(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the two files, each opened once, in the folder that is there now."""
    try:
        inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as err:
        raise PackageError("there is no package", where=folder) from err
    try:
        names = sorted(entry.name for entry in os.scandir(inside))
        if names != sorted(NAMES):
            raise PackageError(
                f"the package holds {', '.join(map(repr, names[:5])) or 'nothing'}, "
                "expected 'arrays.npz', 'detector.json'",
                where=folder,
            )
        return {name: _read_file(name, inside, folder) for name in NAMES}
    finally:
        os.close(inside)


def _read_file(name: str, inside: int, folder: Path) -> bytes:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
    except OSError as err:
        raise PackageError(f"{name} is a link or cannot be read", where=folder) from err
    try:
        status, most = os.fstat(handle), _MOST[name]
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise PackageError(
                f"{name} is no regular file, or has {status.st_size} bytes, at most {most}",
                where=folder,
            )
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)


def _parse(content: bytes) -> dict[str, Any]:
    try:
        document = plain_json.parse(content)
    except (ValueError, RecursionError) as err:
        raise PackageError(f"detector.json cannot be read: {err}") from err
    if not isinstance(document, dict) or document.keys() != _KEYS:
        raise PackageError(f"detector.json has other keys than {', '.join(sorted(_KEYS))}")
    if type(document["format"]) is not int or document["format"] not in (FORMAT, LEVELED):
        raise PackageError(
            f"the package has format {document['format']!r}, expected {FORMAT} or {LEVELED}"
        )
    if not isinstance(document["class"], str) or document["class"] not in _CLASSES:
        raise PackageError(
            f"the package is of class {document['class']!r}, known: {', '.join(_CLASSES)}"
        )
    return document


def _package(digest: str, document: dict[str, Any], arrays: Mapping[str, Any]) -> Package:
    for name in ("spec", "rule", "training", "versions"):
        if not isinstance(document[name], dict):
            raise PackageError(f"{name} is {document[name]!r}, expected an object")
    threshold, rule = document["threshold"], document["rule"]
    if type(threshold) not in (int, float):
        raise PackageError(f"the threshold is {threshold!r}, expected a number")
    if not all(isinstance(number, str) for number in document["versions"].values()):
        raise PackageError("versions holds something that is no text")
    if rule.keys() != {"k", "n", "m"} or not all(type(count) is int for count in rule.values()):
        raise PackageError(f"the rule is {rule!r}, expected integers k, n and m")
    spec = resolve(document["spec"])
    method_of(spec["name"])  # of the catalogue: `auto` is chosen before anything is saved
    if spec != document["spec"]:
        raise PackageError("the specification is not complete, so it was not written by save")
    if (document["format"] == LEVELED) != ("level" in spec):
        raise PackageError(
            f"the package has format {document['format']} and level {spec.get('level')!r}: "
            f"{LEVELED} is with level, {FORMAT} without"
        )
    detector = _detector(spec, arrays)
    check_passable(detector, threshold)
    _prove(detector, arrays["golden.scores"])
    return Package(
        digest,
        detector,
        float(threshold),
        EpisodeRule(**rule),
        spec,
        document["training"],
        document["versions"],
    )


def _detector(spec: Mapping[str, Any], arrays: Mapping[str, Any]) -> Fitted:
    for name in ("golden.windows", "golden.scores"):
        if name not in arrays or arrays[name].dtype != np.float64 or not arrays[name].size:
            raise PackageError(f"the package has no array {name} of numbers")
    state = {n[6:]: array for n, array in arrays.items() if n.startswith("state.")}
    if len(state) + 2 != len(arrays):
        raise PackageError("the package has arrays that are neither state nor golden")
    if arrays["golden.windows"].ndim != 3:
        raise PackageError("array golden.windows has not three axes")
    if len(arrays["golden.windows"]) > GOLDEN:
        raise PackageError(f"the package has more than {GOLDEN} golden windows")
    return Fitted(spec, state, arrays["golden.windows"])


def _prove(detector: Fitted, scores: Floats) -> None:
    with np.errstate(all="ignore"):
        again = detector.golden_scores()
    fine = again.shape == scores.shape and np.isfinite(again).all()
    if not fine or not np.allclose(again, scores, rtol=_RTOL, atol=1e-12):
        raise PackageError(
            "the golden windows do not score as they did",
            hint="fitted with other versions of the libraries? fit it again here",
        )

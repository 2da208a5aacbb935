"""Whether a candidate finds planted faults, and how small ones, beside what scores the stream now.

The recent span may have had no fault, and then a threshold that no reading passes looks like a
quiet plant. `evaluation.smallest_found` plants faults into it.
"""

from __future__ import annotations

import re
from functools import partial

import pandas as pd

from workbench import evaluation
from workbench.detectors import Package
from workbench.errors import EvaluationError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.promotion.proof import as_run, with_derived
from workbench.stream.promotion.verdicts import Finding

_NAME, _WANTED = "planted faults", "finds some, of some size"


def finds_planted_faults(
    stream: Stream, candidate: Package, champion: Package | None, frame: pd.DataFrame
) -> Finding:
    """Whether it finds planted faults of any size; the smallest of each kind, and the champion's.

    Both as they would run, with the stream's threshold and rule, on the same faults.
    """
    packages = {"candidate": candidate} | ({"champion": champion} if champion else {})
    try:
        smallest = evaluation.smallest_found(
            {name: as_run(stream, package) for name, package in packages.items()},
            frame,
            sensor=stream.sensor,
            channels=_measured(stream, candidate),
            derive=partial(with_derived, stream),
        )
    except EvaluationError as error:
        return Finding(_NAME, None, f"not known: {error.message}")
    sizes = {name: _smallest(smallest, name) for name in packages}
    passed = bool(smallest["candidate"].notna().any())
    wanted = f"{_WANTED}; champion: {sizes['champion']}" if champion else _WANTED
    return Finding(_NAME, passed, sizes["candidate"], wanted, _rows(smallest, list(packages)))


def _measured(stream: Stream, package: Package) -> list[str]:
    """Return the stream's own channels that the package sees, derived ones by their expression."""
    used = set(package.detector.channels)
    expressions = " ".join(text for name, text in stream.derived.items() if name in used)
    words = used | set(re.findall(r"\w+", expressions))
    return [channel for channel in stream.channels if channel in words]


def _rows(faults: pd.DataFrame, packages: list[str]) -> tuple[dict[str, str], ...]:
    """Return a row for each kind and channel, the champion's size beside the candidate's."""
    columns = [name for name in ("champion", "candidate") if name in packages]
    return tuple(
        {
            "fault": str(row["kind"]),
            "channel": str(row["channel"]),
            **{name: _size(str(row["kind"]), row[name], row["unit"]) for name in columns},
        }
        for row in faults.to_dict(orient="records")
    )


def _size(kind: str, size: float, unit: float) -> str:
    """Return a size in the channel's own unit and in its deviations; of a stuck one in readings.

    Examples
    --------
    >>> _size("shift", 2.0, 0.31), _size("stuck", 0.5, 32), _size("spike", float("nan"), 1)
    ('0.62 (2 dev.)', '16 readings', 'none')
    """
    if size != size:
        return "none"
    if kind == "stuck":
        return f"{size * unit:.0f} readings"
    return f"{size * unit:.3g} ({size:g} dev.)"


def _smallest(faults: pd.DataFrame, column: str) -> str:
    """Return the smallest found by kind: in deviations of the channel; stuck, in readings.

    Examples
    --------
    >>> sizes = {"kind": "drift", "unit": 0.1, "candidate": [2.0, 4.0, float("nan")]}
    >>> _smallest(pd.DataFrame(sizes), "candidate")
    'drift 2 to 4 in 2 of 3 channels'
    """
    sizes = faults[column].where(faults["kind"] != "stuck", faults[column] * faults["unit"])
    kinds = []
    for kind, group in sizes.groupby(faults["kind"], sort=False):
        count, least, most = group.count(), group.min(), group.max()
        text = f"{least:g}" if least == most else f"{least:g} to {most:g}"
        where = f" in {count} of {len(group)} channels" if count < len(group) else ""
        kinds.append(f"{kind} {text}{where}" if count else f"{kind} none")
    return "; ".join(kinds)

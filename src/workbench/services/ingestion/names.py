"""Find columns by what people call them, and make names that Avro, SQL and Flink take of that."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # Avro's rule for names
_WRITTEN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "oe",
     "Ø": "Oe", "°": "deg", "%": "percent", "µ": "u", "μ": "u", "Ω": "ohm", "Δ": "delta"}
)  # fmt: skip
_UNIT = re.compile(r"[\[(]\s*([^\[\]()]+?)\s*[\])]\s*$")


def field_names(labels: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return the field of each label: itself where it is one, and no two that differ in case only.

    What is a field already keeps its name, whatever stands before it; none has a name of `taken`.

    Examples
    --------
    >>> field_names(["Druck [bar]", "Füllstand %", "flow", "3. Stufe", "druck (bar)", "压力"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'Druck [bar]': 'Druck_bar', 'Füllstand %': 'Fuellstand_percent', 'flow': 'flow',
     '3. Stufe': '_3_Stufe', 'druck (bar)': 'druck_bar_2', '压力': 'column'}
    """
    names = dict.fromkeys(labels, "")
    used = {name.casefold() for name in taken}
    for label in sorted(names, key=lambda label: not FIELD.fullmatch(label)):
        name = base = label if FIELD.fullmatch(label) else _field(label)
        number = 1
        while name.casefold() in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name.casefold())
        names[label] = name
    return names


def _field(label: str) -> str:
    plain = unicodedata.normalize("NFC", label).translate(_WRITTEN)
    decomposed = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", decomposed).strip("_") or "column"
    return f"_{name}" if name[0].isdigit() else name


def unit(label: str) -> str:
    """Return the unit that a label ends with, in brackets; empty if it names none.

    Examples
    --------
    >>> unit("Druck [bar]"), unit("Vorlauf (°C) "), unit("flow")
    ('bar', '°C', '')
    """
    found = _UNIT.search(label)
    return found[1] if found else ""


def unnamed_remark(count: int) -> str:
    """Return what is said of columns without a name.

    Examples
    --------
    >>> unnamed_remark(2)
    '2 columns have no name, and are left out'
    """
    if count == 1:
        return "1 column has no name, and is left out"
    return f"{count} columns have no name, and are left out"


def matching(values: Sequence[str], header: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the columns of readings that are named, or match a pattern with `*` or `?`.

    Examples
    --------
    >>> matching(["T*", "flow [l/min]"], ["Time", "T1", "T2", "flow [l/min]"], ["Time"])
    ['T1', 'T2', 'flow [l/min]']
    """
    columns: list[str] = []
    for value in values:
        if value in header or not set(value) & {"*", "?"}:
            columns.append(value)
            continue
        pattern = value.replace("[", "[[]")  # brackets are those of units
        named = [name for name in header if name and name not in others]
        columns += [name for name in named if fnmatchcase(name, pattern)]
    return list(dict.fromkeys(columns))


def quoted(name: str) -> str:
    """Return a name as it stands in a list of names."""
    return '"' + name.replace('"', '""') + '"' if set(name) & {",", '"'} else name

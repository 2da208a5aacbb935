"""The sample and the tour over it, which come with the package: copied into a folder.

The sample is `data/`: two weeks of six pumps, really offloaded, and their labelled faults. The tour
is the sample with `notebooks/`, `params/` and `streams/`. In a clone they stand at its top already.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench import files
from workbench.endpoints import project
from workbench.errors import DeskError

_SAMPLE = ("data/archive", "data/labels.csv")
_TOUR = ("notebooks/[0-9]*.ipynb", "params/*.yaml", "streams/plant.yaml")


def copy_sample() -> list[Path]:
    """Copy the sample to `data/` of the project, and return the files that are new.

    Raises
    ------
    DeskError
        If another file is where one of them belongs: nothing is copied then.
    """
    return _copy(_files(_SAMPLE))


def copy_tour() -> list[Path]:
    """Copy sample, notebooks, params and stream file; else as `copy_sample`."""
    return _copy(_files(_SAMPLE + _TOUR))


def tour_notebook(name: str) -> Path:
    """Return a notebook of the tour: the project's, or where it has none the package's own.

    Parameters
    ----------
    name
        Without `.ipynb`.
    """
    path = Path("notebooks", f"{name}.ipynb")
    here = project() / path
    return here if here.is_file() else _origin() / path


def _origin() -> Path:
    """Return where they are: in a wheel inside the package, in a clone at its top."""
    package = Path(__file__).parents[1]
    inside = package / "tour"
    return inside if inside.is_dir() else package.parents[1]


def _files(patterns: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files of some patterns, relative to where they are."""
    origin = _origin()
    for pattern in patterns:
        for path in sorted(origin.glob(pattern)):
            inner = sorted(path.iterdir()) if path.is_dir() else [path]
            yield from (file.relative_to(origin) for file in inner)


def _copy(names: Iterator[Path]) -> list[Path]:
    origin, target = _origin(), project()
    contents = {target / name: (origin / name).read_bytes() for name in names}
    others = [path for path, content in contents.items() if _differs(path, content)]
    if others:
        raise DeskError(
            f"{len(others)} files of the tour would replace yours, the first is here",
            where=others[0],
            hint="copy them into an empty folder",
        )
    new = [path for path in contents if not path.exists()]
    return [files.write_bytes(path, contents[path]) for path in new]


def _differs(path: Path, content: bytes) -> bool:
    return path.exists() and not (path.is_file() and path.read_bytes() == content)


__all__ = ["copy_sample", "copy_tour", "tour_notebook"]

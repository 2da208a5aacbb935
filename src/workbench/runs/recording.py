"""What a notebook calls while it runs: where its folder is, and what it found.

Everything goes into the run's folder as plain JSON; nothing here knows how the run was started,
so the same cell works in JupyterLab (folder `runs/interactive`) and in a batch run.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import files
from workbench.endpoints import project
from workbench.errors import RunError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def folder() -> Path:
    """Return the folder of the run that this notebook is, `runs/interactive` outside of one."""
    path = Path(os.environ.get("WORKBENCH_RUN") or project() / "runs" / "interactive")
    path.mkdir(parents=True, exist_ok=True)
    return path


def record(
    metrics: Mapping[str, Any],
    *,
    detector_package: Path | str | None = None,
    data: Mapping[str, Any] | pd.DataFrame | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> None:
    """Keep what this run found; a second call adds to the first.

    Parameters
    ----------
    metrics
        Numbers and short texts by name, units in the name (`delay_median_s`). NaN and infinity
        become null.
    detector_package
        The folder that `detectors.save` wrote; kept as `detector/`.
    data
        What was read: a manifest, or the frame of `workbench.replay`, which carries one. What
        replays read in a run is kept without being named here.
    figures
        Those that compare this run with others in the report of its sweep, by name.

    Raises
    ------
    RunError
        If a name or value cannot be kept, or the package is not there.
    """
    into = folder()
    _merge(
        into / "metrics.json",
        {_name(key): _json_value(key, metric) for key, metric in metrics.items()},
    )
    if data is not None:
        keep_manifest(_manifest(data))
    if detector_package is not None:
        _keep_package(Path(detector_package), into / "detector")
    for name, figure in (figures or {}).items():
        with files.new_file(into / "figures" / f"{_name(name)}.png") as part:
            figure.savefig(part, format="png", dpi=120, bbox_inches="tight")


def keep_manifest(manifest: Mapping[str, Any]) -> None:
    """Add what was read to the run's list of data, once."""
    path = folder() / "data.json"
    manifests = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    fresh = json.loads(json.dumps(manifest, default=str))
    if "archive" in fresh:
        fresh["archive"] = _portable(fresh["archive"])
    if fresh not in manifests:
        files.write_json(path, [*manifests, fresh])


def _manifest(data: Any) -> Mapping[str, Any]:
    manifest = data if isinstance(data, Mapping) else getattr(data, "attrs", {}).get("manifest")
    if manifest is None:
        raise RunError(
            f"the data is a {type(data).__name__} without a manifest",
            hint="give the frame that workbench.replay returned, or its .attrs['manifest']",
        )
    return manifest


def _portable(url: str) -> str:
    """Return a folder in the project as a path from there, so that inputs hash alike anywhere."""
    if not url or "://" in url or not Path(url).is_relative_to(project()):
        return url
    return str(Path(url).relative_to(project()))


def _keep_package(package: Path, kept: Path) -> None:
    if not (package / "detector.json").is_file():
        raise RunError("there is no detector package", where=package)
    if package.resolve() == kept.resolve():
        return
    if package.resolve().is_relative_to(kept.parent.resolve()):
        files.put(package, kept)  # written here for this, not to be kept twice
    else:
        with files.new_folder(kept) as part:
            shutil.copytree(package, part, dirs_exist_ok=True)


def _name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RunError(f"{name!r} is not a name: letters, digits, '_', '.' and '-'")
    return name


def _json_value(name: str, value: Any) -> Any:
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        value = value.item()  # a numpy scalar
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json_value(name, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(name, item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    raise RunError(f"metric {name} is a {type(value).__name__}, expected a number or a short text")


def _merge(path: Path, values: dict[str, Any]) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    files.write_json(path, {**known, **values})

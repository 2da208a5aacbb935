"""Spans of history that runs share: what one run replayed, the next finds as a local Arrow file.

`replay` here has the signature of `workbench.replay`, for which it stands inside a run. It does two
things more: what was read is kept with the run, and an archive's span is read once for all runs
of this machine. A span is known by its manifest, etags included, so a changed archive is read
again. The cache is `cache/spans` in the workbench's home; over its limit
(`WORKBENCH_SPANS_MIB`, default 2048) what was used longest ago goes.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import files, history, kafka
from workbench.endpoints import endpoints, home, project
from workbench.runs.inputs import code_hash, digest
from workbench.runs.recording import keep_manifest

if TYPE_CHECKING:
    import pandas as pd

_LIMIT_MIB = 2048.0


def replay(
    topic: str,
    start: str | None = None,
    stop: str | None = None,
    source: str = "archive",
    **options: Any,
) -> pd.DataFrame:
    """Return what `workbench.replay` returns, and keep with the run what was read."""
    found = _shared(topic, start, stop, options) if source == "archive" else None
    frame = history.replay(topic, start, stop, source, **options) if found is None else found
    keep_manifest(frame.attrs["manifest"])
    return frame


def _shared(
    topic: str, start: str | None, stop: str | None, options: dict[str, Any]
) -> pd.DataFrame | None:
    """Return the frame by way of the cache, or None where it is not for the cache."""
    from workbench import archive as room

    sample = project() / "data" / "archive"
    url = options.get("archive") or endpoints().archive or str(sample if sample.is_dir() else "")
    if not isinstance(url, str) or not url or kafka.is_topic(topic):
        return None  # an archive opened in some special way, or none; what Kafka has changes
    opened = room.open(url)
    manifest = opened.topic(topic).manifest(start, stop, options.get("by", "event_time"))
    wanted = [manifest, options.get("columns"), repr(opened.schemas), code_hash()]
    folder = home() / "cache" / "spans"
    path = folder / f"{digest(wanted)}.arrow"
    with files.locked(path.with_suffix(".lock")):
        if not path.is_file():
            return _keep(history.replay(topic, start, stop, "archive", **options), path)
        os.utime(path)
        return _read(path)


def _keep(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        arrays = [pa.array(frame[name], from_pandas=True) for name in frame.columns]
        table = pa.table(arrays, names=list(frame.columns))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return frame  # a field of several types: not for Arrow
    files.write_json(path.with_suffix(".json"), frame.attrs["manifest"])
    with (
        files.new_file(path) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    _shrink(path.parent, spared=path)
    return frame


def _read(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow_hotfix  # noqa: F401 - a file could name code to run (CVE-2023-47248)

    from workbench.archive import to_frame

    with pa.memory_map(str(path)) as source:
        frame: pd.DataFrame = to_frame(pa.ipc.open_file(source).read_all())
    frame.attrs["manifest"] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return frame


def _shrink(folder: Path, spared: Path) -> None:
    """Remove what was used longest ago until the cache keeps to its limit."""
    limit = float(os.environ.get("WORKBENCH_SPANS_MIB") or _LIMIT_MIB) * 2**20
    files.remove_abandoned(folder)
    entries = []
    for path in folder.glob("*.arrow"):
        with contextlib.suppress(FileNotFoundError):  # another process shrinks too
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        if path != spared:
            for suffix in (".arrow", ".json"):  # not the lock: someone may hold it
                path.with_suffix(suffix).unlink(missing_ok=True)
            total -= size

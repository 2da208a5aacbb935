"""Find the earlier run that stands for a new one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from workbench.endpoints import project
from workbench.errors import RunError, WorkbenchError
from workbench.runs import inputs
from workbench.runs.planning.specs import Plan
from workbench.runs.store import Run


class Cache:
    """The newest run of each key in a store, as long as its data is what it was."""

    def __init__(self, runs: Iterable[Run], *, failed_too: bool = False) -> None:
        wanted = {"complete", "failed"} if failed_too else {"complete"}
        self._runs = {run.about.get("key"): run for run in runs if run.status in wanted}
        self._now: dict[str, object] = {}

    def find(self, plan: Plan) -> Run | None:
        """Return the run that has the inputs of `plan`, marked as cached, or None."""
        run = self._runs.get(inputs.key(inputs.inputs(plan)))
        if run is None or not self._stands(run):
            return None
        return replace(run, cached=True)

    def _stands(self, run: Run) -> bool:
        try:
            return all(self._unchanged(data) for data in run.manifest["data"])
        except RunError:  # what it read is not known any more
            return False

    def _unchanged(self, manifest: dict[str, Any]) -> bool:
        if not {"archive", "topic"} <= set(manifest):
            return True  # not of our making: nothing to hold it against
        span = inputs.digest({key: value for key, value in manifest.items() if key != "objects"})
        if span not in self._now:
            self._now[span] = objects_now(manifest)
        return bool(self._now[span] == manifest["objects"])


def objects_now(manifest: dict[str, Any]) -> object:
    """Return the objects that the read described by `manifest` would read now, None if none."""
    from workbench import archive

    url = manifest["archive"]
    try:
        topic = archive.open(url if "://" in url else str(project() / url)).topic(manifest["topic"])
        return topic.manifest(manifest["start"], manifest["stop"], manifest["by"])["objects"]
    except WorkbenchError:
        return None  # gone, or damaged: a new run will say so

"""Write a stream as a Pulsar Function: one Python file, and the package that it scores with.

For a stream whose readings are few and that needs arithmetic and inference only: no Flink. The
function keeps its windows in memory (`memory`), the one exception to docs/design.md, D3: after a
restart it is silent about a sensor until w of its readings came, and an alarm that was on is
forgotten. It scores with one package: a promotion reaches it when it is exported and deployed
again. It merges nothing across partitions.
"""

from __future__ import annotations

import pprint
import shutil
from dataclasses import dataclass
from pathlib import Path

from workbench import broker, files, kafka
from workbench.endpoints import project
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.promotion_log import promotions, store
from workbench.stream.selection import select

_READS = ("topic", "sensor", "channels", "derived", "event_time", "lateness_s", "ahead_s", "window")
_SAYS = ("detector", "threshold", "rule", "limits", "alerts", "scores", "refused")
_OTHERS = ("gate", "severities", "routes", "feedback")  # read by others than whoever scores
KEYS = {*_READS, *_SAYS, *_OTHERS}  # of a stream file, that a function can do
_FILE = '''"""Stream {name} as a Pulsar Function, by `workbench stream export-function {name}`.

It runs on a functions worker whose python3 has workbench installed, and reads the package from the
folder that its user config `package` names. Its windows are in memory: after a restart a sensor has
no score until as many of its readings came as a window holds. It merges nothing across partitions.
"""

from workbench.stream.function.process import StreamFunction


class {title}(StreamFunction):
    """Readings in, alerts out."""

    name = "{name}"
    content = {content}
    package = "{package}"
'''


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    folder
        Holds `NAME_function.py`, `function.json` (the worker's config) and `package/`.
    name, topic, package
        Of the stream, and the package's id; empty: limits only.
    """

    folder: Path
    name: str
    topic: str
    package: str

    @property
    def title(self) -> str:
        """Name of the function's class."""
        return _title(self.name)

    @property
    def file(self) -> Path:
        """The function's one Python file."""
        return self.folder / f"{self.name}_function.py"

    @property
    def config(self) -> Path:
        """What the functions worker is told."""
        return self.folder / "function.json"


def export_function(
    stream: str | Path | Stream, folder: Path | None = None, *, package: str | None = None
) -> Exported:
    """Write a stream as a Pulsar Function.

    Parameters
    ----------
    stream
        Name or path of a stream file, or what one says.
    folder
        Where to; None: `functions/NAME` in the project.
    package
        Id of a package in place of the stream's detector.

    Raises
    ------
    StreamError
        If the stream needs Flink, or nothing was promoted, or the package does not fit.
    """
    definition = load_stream(stream)
    check_possible(definition)
    content = {key: value for key, value in definition.content().items() if key not in _OTHERS}
    selection = select(definition, package)
    chosen_package = selection.package.id if selection.package else ""
    if selection.role:
        threshold = promotions(definition.name, selection.role)[-1].threshold
        content |= {} if threshold is None or "threshold" in content else {"threshold": threshold}
    exported = Exported(
        (folder or project() / "functions" / definition.name).resolve(),
        definition.name,
        definition.topic,
        chosen_package,
    )
    exported.folder.mkdir(parents=True, exist_ok=True)
    if chosen_package:
        folder = store() / "packages" / chosen_package
        shutil.copytree(folder, exported.folder / "package", dirs_exist_ok=True)
    files.write_text(
        exported.file,
        _FILE.format(
            name=definition.name,
            title=_title(definition.name),
            content=_indented(pprint.pformat(content, sort_dicts=False, width=80)),
            package=chosen_package,
        ),
    )
    files.write_json(exported.config, _config(exported))
    return exported


def check_possible(stream: Stream) -> None:
    """Refuse a stream that says anything but what a function can do.

    Raises
    ------
    StreamError
        With every key that it cannot do, or a topic that is none of Pulsar.
    """
    beyond = [key for key in stream.settings() if key not in KEYS]
    if beyond:
        named = ", ".join(map(repr, beyond))
        raise StreamError(
            f"a function cannot do {named} of stream {stream.name}",
            hint=f"workbench stream run {stream.name}, or leave {named} out",
        )
    for topic in (stream.topic, stream.alerts, stream.scores, stream.refused):
        if kafka.is_topic(topic):
            raise StreamError(
                f"a function reads and writes topics of Pulsar, {topic} is Kafka's",
                hint=f"workbench stream run {stream.name}",
            )


def _indented(text: str) -> str:
    return text.replace("\n", "\n    " + " " * len("content = "))


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.replace("-", "_").split("_"))


def _config(exported: Exported) -> dict[str, object]:
    return {
        "tenant": "public",
        "namespace": "default",
        "name": f"workbench-{exported.name}",
        "className": f"{exported.file.stem}.{_title(exported.name)}",
        "inputs": [exported.topic],
        "runtime": "PYTHON",
        "parallelism": 1,  # one order of readings
        "retainOrdering": True,
        "subName": f"workbench-function-{exported.name}",
        "subscriptionPosition": "Earliest",
        "processingGuarantees": "ATLEAST_ONCE",
        "autoAck": True,
        "userConfig": {"package": str(exported.folder / "package")},
    }


def deploy(exported: Exported) -> None:
    """Give a function to the broker's functions worker, or replace it there.

    Raises
    ------
    ServicesError
        If there is no functions worker, or it refuses.
    """
    config = exported.config.read_text(encoding="utf-8")
    parts = {
        "functionConfig": (None, config, "application/json"),
        "data": (exported.file.name, exported.file.read_bytes(), "application/octet-stream"),
    }
    path = f"/admin/v3/functions/public/default/workbench-{exported.name}"
    known = broker.admin("GET", path).ok
    broker.check(broker.admin("PUT" if known else "POST", path, files=parts))


__all__ = ["Exported", "deploy", "export_function"]

"""Write a stream as a Pulsar Function: one Python file, and the package that it scores with.

For a stream whose readings are few and that needs arithmetic and inference only: no Flink. The
function keeps its windows in memory (`memory`), the one exception to DESIGN D3: after a restart it
is silent about a sensor until w of its readings came, and an alarm that was on is forgotten. It
scores with one package: a promotion reaches it when it is exported and deployed again.
"""

from __future__ import annotations

import json
import pprint
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench.endpoints import project
from workbench.errors import StreamError
from workbench.services import broker
from workbench.stream.definition import load_stream
from workbench.stream.promotions import ROLES, promotions, store
from workbench.stream.selection import chosen

_FLINK_ONLY = (
    "patterns",
    "sums",
    "also",
    "shadow",
    "refused",
    "heartbeat",
)  # keys of a stream file
_FILE = '''"""Stream {name} as a Pulsar Function, by `workbench stream export-function {name}`.

It runs on a functions worker whose python3 has workbench installed, and reads the package from the
folder that its user config `package` names. Its windows are in memory: after a restart a sensor has
no score until as many of its readings came as a window holds.
"""

import json

from pulsar import Function

from workbench import detectors
from workbench.stream.definition import parse_stream
from workbench.stream.memory import Expressions, Memory, parse

STREAM = {content}
PACKAGE = "{package}"


class {title}(Function):
    """Readings in, alerts out."""

    def __init__(self):
        self.memory = None

    def start(self, folder):
        """Load the package, checked by its id."""
        stream = parse_stream("{name}", STREAM)
        self.derived = Expressions(stream, stream.derived.values()) if stream.derived else None
        package = detectors.load(folder, package_id=PACKAGE) if PACKAGE else None
        self.memory = Memory(stream, package)

    def process(self, message, context):
        """Score what is due with this reading."""
        if self.memory is None:
            self.start(context.get_user_config_value("package"))
        stream, at = self.memory.stream, context.get_message_id()
        place = f"{{at.ledger_id()}}:{{at.entry_id()}}:{{at.partition()}}:{{at.batch_index()}}"
        times_ms = context.get_message_eventtime(), context.message.publish_timestamp()
        try:
            reading = parse(stream, json.loads(message), place, times_ms, self.derived)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self.memory.refused += 1
            context.get_logger().warning("message %s is no reading: %r", place, error)
            return
        for due, score, alerts in self.memory.read(reading):
            if stream.scores:
                said = self.memory.told(due, score)
                self.send(context, stream.scores, due.sensor, said)
            for alert in alerts:
                self.send(context, stream.alerts, alert["id"], alert)

    def send(self, context, topic, key, content):
        """Send JSON under a key."""
        context.publish(topic, json.dumps(content), message_conf={{"partition_key": key}})
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
    def file(self) -> Path:
        """The function's one Python file."""
        return self.folder / f"{self.name}_function.py"

    @property
    def config(self) -> Path:
        """What the functions worker is told."""
        return self.folder / "function.json"


def export_function(
    stream: str | Path, folder: Path | None = None, *, package: str | None = None
) -> Exported:
    """Write a stream as a Pulsar Function.

    Parameters
    ----------
    stream
        Name or path of a stream file.
    folder
        Where to; None: `functions/NAME` in the project.
    package
        Id of a package in place of the stream's detector.

    Raises
    ------
    StreamError
        If the stream needs Flink, or nothing was promoted, or the package does not fit.
    """
    found = load_stream(stream)
    content = _content(stream)
    for key in _FLINK_ONLY:
        if key in content:
            raise StreamError(
                f"a function cannot do {key!r} of stream {found.name}",
                hint=f"workbench stream run {found.name}, or leave {key!r} out",
            )
    chosen_package = chosen(found, package).id if package or found.detects else ""
    if package is None and found.detector in ROLES:
        threshold = promotions(found.name, found.detector)[-1].threshold
        content |= {} if threshold is None or "threshold" in content else {"threshold": threshold}
    exported = Exported(
        (folder or project() / "functions" / found.name).resolve(),
        found.name,
        found.topic,
        chosen_package,
    )
    exported.folder.mkdir(parents=True, exist_ok=True)
    if chosen_package:
        folder = store() / "packages" / chosen_package
        shutil.copytree(folder, exported.folder / "package", dirs_exist_ok=True)
    exported.file.write_text(
        _FILE.format(
            name=found.name,
            title=_title(found.name),
            content=pprint.pformat(content, sort_dicts=False),
            package=chosen_package,
        ),
        encoding="utf-8",
    )
    config = json.dumps(_config(exported), indent=1) + "\n"
    exported.config.write_text(config, encoding="utf-8")
    return exported


def _content(stream: str | Path) -> dict[str, Any]:
    path = Path(stream)
    if path.suffix not in {".yaml", ".yml"}:
        path = project() / "streams" / f"{stream}.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def _title(name: str) -> str:
    return "".join(one.capitalize() for one in name.replace("-", "_").split("_"))


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

"""A notebook that opens on one alert: written when its message is sent, where the link leads.

JupyterLab's addresses lead to files and carry no parameters into them, so each alert has a small
file of its own, in `notebooks/alerts/` of the project. It shows what the message said before
anything is run; run, it asks the broker for the alert and its readings, and takes an answer. A
notebook that is there stays as it is: somebody may have worked in it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench import files
from workbench.alerts.links import FILE_NAME, NOTEBOOKS
from workbench.alerts.messages import Message
from workbench.alerts.routing import Alert
from workbench.alerts.targets import Target
from workbench.endpoints import project
from workbench.errors import AlertsError

_LINKS = ("answer_url", "notebook_url")  # whoever has the first can answer; here are buttons
TEMPLATE = Path(__file__).with_name("alert.ipynb")


def opening(send: Target) -> Target:
    """Return what writes the notebooks that a message links to, and sends it.

    Where one cannot be written, the message goes without the link and says so.
    """
    from jinja2 import TemplateError

    def written(message: Message) -> Message:
        if not any("notebook_url" in alert for alert in message.alerts):
            return message
        try:
            for alert in message.alerts:
                if "notebook_url" in alert:
                    _write(message, alert)
        except (OSError, ValueError, AlertsError, TemplateError) as err:
            unlinked = tuple(
                {name: value for name, value in alert.items() if name != "notebook_url"}
                for alert in message.alerts
            )
            return replace(message, alerts=unlinked).noting(f"no notebook: {_reason(err)}")
        return message

    return lambda message: send(written(message))


def _reason(err: Exception) -> str:
    return getattr(err, "strerror", None) or getattr(err, "message", None) or str(err)


def _write(message: Message, alert: Alert) -> None:
    if not FILE_NAME.fullmatch(alert["id"]):
        raise AlertsError(f"{alert['id']!r} is no name of a file")
    path = project() / NOTEBOOKS / f"{alert['id']}.ipynb"
    if not path.exists():
        files.write_text(path, _filled(message, alert))


def _filled(message: Message, alert: Alert) -> str:
    """Return the notebook of an alert, in its outputs what its message said."""
    notebook = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    values = {"STREAM": message.stream, "ALERT": alert["id"]}
    shown = {name: value for name, value in alert.items() if name not in _LINKS}
    text = replace(message, alerts=(shown,), notes=()).text
    outputs: dict[str, dict[str, Any]] = {
        "alert": {"output_type": "stream", "name": "stdout", "text": text}
    }
    if message.pictured == alert["id"]:
        png = base64.b64encode(message.picture).decode()
        data = {"output_type": "display_data", "data": {"image/png": png}, "metadata": {}}
        outputs["closeup"] = data
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        for name, value in values.items():
            source = source.replace(f'"__{name}__"', json.dumps(value))
        cell["source"] = source.splitlines(keepends=True)
        if cell["id"] in outputs:
            cell["outputs"] = [outputs[cell["id"]]]
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


__all__ = ["opening"]

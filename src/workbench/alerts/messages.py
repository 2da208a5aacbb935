"""What is sent: the alerts of one machine that opened or closed since it was last written of.

The text may be that of a route's own template: Jinja, in a file beside the stream files.

    {% for alert in alerts %}{{ alert.sensor }} {{ alert.status }} since
    {{ alert.start | local("Europe/Berlin") }}{% endfor %}

A name that no alert has is an error, and not an empty text. One that can be seen is seen when the
notifier starts; for one that comes later people are told by the usual text. Templates reach nothing
but what they are given (Jinja's sandbox).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from workbench.alerts.routing import Alert, machine, severity
from workbench.endpoints import project
from workbench.errors import AlertsError
from workbench.stream import SEVERITIES, Route, Stream
from workbench.times import instant_ms

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATE = """\
{%- for alert in alerts -%}
{{ alert.sensor }}: {{ alert.kind }} {{ alert.status }}, {{ alert.start }}
{%- if alert.stop %} to {{ alert.stop }}{% endif %}
{%- if alert.peak_score is not none and alert.peak_score is defined %}, peak {{ "%.4g" | format(alert.peak_score) }}
{%- if alert.threshold is not none %} over {{ "%.4g" | format(alert.threshold) }}{% endif %}{% endif %}
{%- if alert.reason %}
    {{ alert.reason }}
{%- endif %}
{%- for part in alert.contributions or () if part.share >= 0.05 %}
    {{ part.channel }}{% set value = (alert.channels or {}).get(part.channel) %}{% if value is not none %} {{ "%.6g" | format(value) }}{% endif %}: {{ "%.0f" | format(100 * part.share) }} % of it, {{ part.direction }}
    {%- if part.expected is not none %}, {{ "%.6g" | format(part.expected) }} expected{% endif %}
{%- else %}
{%- for channel, value in (alert.channels or {}).items() if value is not none %}
    {{ channel }} {{ "%.6g" | format(value) }}
{%- endfor %}
{%- endfor %}
{%- if alert.answer_url %}
    {{ alert.answer_url }}
{%- endif %}
{%- if alert.notebook_url %}
    {{ alert.notebook_url }}
{%- endif %}
{% endfor -%}
{%- for note in notes %}
{{- note }}
{% endfor -%}
"""  # noqa: E501 - a line of a template is a line of the text


_OURS = ("severity", "answer_url", "notebook_url")  # an alert of the topic that has them lies


@dataclass(frozen=True)
class Message:
    """What a route says at once.

    Attributes
    ----------
    stream, route
        Names.
    machine
        What its alerts have in common.
    alerts
        In their newest state, by start; each with its `severity`.
    picture, pictured
        PNG, and the id of the alert that it shows; empty: none.
    notes
        What does not go with it, and why.
    template
        That of its route, which makes the text; empty: the usual text.
    """

    stream: str
    route: str
    machine: str
    alerts: tuple[Alert, ...]
    picture: bytes = b""
    pictured: str = ""
    notes: tuple[str, ...] = ()
    template: str = ""

    def noting(self, note: str) -> Message:
        """Return it with a note more."""
        return replace(self, notes=(*self.notes, note))

    @property
    def id(self) -> str:
        """The same for the same alerts in the same state, whenever they are sent."""
        parts = sorted(f"{alert['id']}:{alert['status']}" for alert in self.alerts)
        return hashlib.sha256("|".join([self.route, *parts]).encode()).hexdigest()[:32]

    @property
    def severity(self) -> str:
        """That of the worst alert."""
        return max((str(alert["severity"]) for alert in self.alerts), key=SEVERITIES.index)

    @property
    def title(self) -> str:
        """One line, whatever a sensor is called: the machine, and how many opened and closed."""
        counts = [
            f"{sum(alert['status'] == status for alert in self.alerts)} {status}"
            for status in ("open", "closed")
            if any(alert["status"] == status for alert in self.alerts)
        ]
        return f"{' '.join(self.machine.split())}: {', '.join(counts)} ({self.stream})"

    @property
    def text(self) -> str:
        """Some lines for each alert, for people; the usual ones if the route's template fails."""
        usual = _template().render(alerts=self.alerts, notes=self.notes)
        if not self.template:
            return usual
        names = ("title", "machine", "stream", "route", "severity", "alerts", "notes")
        try:
            return own_text(self.template, {name: getattr(self, name) for name in names})
        except Exception as err:  # whatever a template can do: nobody is told less for it
            return f"{usual}the template {self.template} fails: {err}\n"

    def content(self) -> dict[str, Any]:
        """Return what a webhook gets."""
        content: dict[str, Any] = {
            "version": 1,
            "id": self.id,
            "stream": self.stream,
            "route": self.route,
            "machine": self.machine,
            "severity": self.severity,
            "title": self.title,
            "alerts": [dict(alert) for alert in self.alerts],
        }
        if self.picture:
            text = base64.b64encode(self.picture).decode()
            content["picture"] = {"alert": self.pictured, "type": "image/png", "base64": text}
        if self.template:
            content["text"] = self.text
        if self.notes:
            content["notes"] = list(self.notes)
        return content


def message(
    stream: Stream,
    name: str,
    alerts: Iterable[Alert],
    answers: Mapping[str, str] | None = None,
    notebooks: Mapping[str, str] | None = None,
) -> Message:
    """Return what the route `name` says of alerts of one machine.

    Parameters
    ----------
    answers, notebooks
        Where an alert can be answered, and where a notebook opens on it, by its id.
    """
    urls = {"answer_url": answers or {}, "notebook_url": notebooks or {}}
    shown_alerts = [
        {name: value for name, value in alert.items() if name not in _OURS}
        | {"severity": severity(stream, alert)}
        | {name: known[alert["id"]] for name, known in urls.items() if alert["id"] in known}
        for alert in sorted(alerts, key=lambda alert: (alert["start"], alert["id"]))
    ]
    return Message(
        stream.name,
        name,
        machine(_route(stream, name), shown_alerts[0]["sensor"]),
        tuple(shown_alerts),
        template=_route(stream, name).template,
    )


def _route(stream: Stream, name: str) -> Route:
    return stream.routes[name]


@cache
def _template() -> Template:
    from jinja2 import Environment

    return Environment(autoescape=False).from_string(TEMPLATE)  # noqa: S701 - plain text, no HTML


FOLDER = "streams"  # of the project
_FIELDS = (
    "id", "stream", "sensor", "kind", "status", "start", "stop", "peak_time", "peak_score",
    "threshold", "readings", "channels", "package", "first_message_id", "last_message_id",
    "contributions", "reason", "severity", "answer_url", "notebook_url",
)  # fmt: skip
_SAMPLE = {
    **dict.fromkeys(_FIELDS, "text"),
    **dict.fromkeys(("start", "stop", "peak_time"), "2026-01-15T06:30:00.000Z"),
    **dict.fromkeys(("peak_score", "threshold"), 9.5),
    "readings": 3,
    "status": "open",
    "channels": {"channel": 9.5},
    "contributions": [{"channel": "channel", "share": 1.0, "direction": "above", "expected": 5.0}],
}


def own_text(template: str, values: Mapping[str, Any]) -> str:
    """Return what a template makes of a message; of an alert, what it does not say is null.

    Parameters
    ----------
    template
        Name of its file in `streams/`.
    values
        `alerts`, and whatever else the template may use.
    """
    alerts = [{**dict.fromkeys(_FIELDS), **alert} for alert in values["alerts"]]
    return _environment().get_template(template).render({**values, "alerts": alerts})


def check_templates(stream: Stream) -> None:
    """Refuse templates that cannot be used: not there, not Jinja, or with names that no alert has.

    Raises
    ------
    AlertsError
        With what is wrong, and where.
    """
    from jinja2 import TemplateNotFound, TemplateSyntaxError

    texts = dict.fromkeys(("title", "machine", "stream", "route", "severity"), "text")
    for name, route in stream.routes.items():
        where = f"{FOLDER}/{route.template}"
        try:
            if route.template:
                own_text(route.template, {"alerts": [_SAMPLE], "notes": (), **texts})
        except TemplateNotFound as err:
            raise AlertsError(f"route {name} has no template {err.name}", where=FOLDER) from err
        except TemplateSyntaxError as err:
            where = f"{FOLDER}/{err.name}, line {err.lineno}"
            raise AlertsError(f"the template of route {name}: {err.message}", where=where) from err
        except Exception as err:  # whatever a template can do
            raise AlertsError(f"the template of route {name} fails: {err}", where=where) from err


def _environment() -> Environment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(project() / FOLDER),
        undefined=StrictUndefined,
        autoescape=False,
    )
    environment.filters["local"] = _local
    return environment


def _local(instant: str, zone: str) -> str:
    """Return an instant as a clock in a time zone shows it.

    Examples
    --------
    >>> _local("2026-07-15T06:30:00.000Z", "Europe/Berlin")
    '2026-07-15 08:30:00 CEST'
    """
    moment = dt.datetime.fromtimestamp((instant_ms(instant) or 0) / 1000, ZoneInfo(zone))
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


__all__ = ["Message", "check_templates", "message"]

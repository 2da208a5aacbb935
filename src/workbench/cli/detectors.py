"""`workbench detectors`: the catalogue."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Hashable, Mapping
from typing import Any

import click


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def detectors(name: str | None, as_json: bool) -> None:
    """List the detectors: what each is good at, its cost per reading, parameters and source.

    With NAME one of them, with the parameters that it shares with the others, too.

    \b
    Example:
        workbench detectors knn
    """
    from workbench import detectors as room  # here, so that --help starts without numpy
    from workbench.detectors import level_about, method_named, params_of

    rows = room.catalogue().reset_index().to_dict("records")
    if name is not None:
        method = method_named(name)
        params = {param.name: param.about for param in params_of(method)} | level_about(method)
        rows = [{**row, "params": params} for row in rows if row["name"] == name]
    for row in rows:
        row["cost_us"] = None if math.isnan(row["cost_us"]) else row["cost_us"]
        click.echo(json.dumps(row) if as_json else _method_text(row))


def _method_text(row: Mapping[Hashable, Any]) -> str:
    cost = "" if row["cost_us"] is None else f", about {row['cost_us']:g} µs per reading"
    lines = [f"{click.style(row['name'], bold=True)}: {row['good_at']}{cost}"]
    lines += [f"    {name}: {about}" for name, about in row["params"].items()]
    if row["refused"]:
        lines.append(f"    not promotable: {row['refused']}")
    lines.append(textwrap.indent(row["source"], "    "))
    return "\n".join(lines)

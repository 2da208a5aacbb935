"""`workbench doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def doctor(as_json: bool) -> None:
    """Tell what is missing or wrong on this machine, and how to mend it.

    Exit code 1 if anything is wrong. Changes nothing.

    \b
    Example:
        workbench doctor
    """
    from workbench.doctor import examine

    findings = examine()
    for one in findings:
        mend = f"\n{'':19}{one.mend}" if one.mend else ""
        click.echo(
            json.dumps(asdict(one))
            if as_json
            else f"{one.state:6} {one.subject:11} {one.found}{mend}"
        )
    sys.exit(any(one.state == "wrong" for one in findings))

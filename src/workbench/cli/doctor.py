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
    from workbench.services import examine

    findings = examine()
    for finding in findings:
        mend = f"\n{'':19}{finding.mend}" if finding.mend else ""
        click.echo(
            json.dumps(asdict(finding))
            if as_json
            else f"{finding.state:6} {finding.subject:11} {finding.found}{mend}"
        )
    sys.exit(any(finding.state == "wrong" for finding in findings))

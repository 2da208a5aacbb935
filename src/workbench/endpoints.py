"""Where the outside world is: read from the environment, in this one place.

Whatever is unset falls back to the services that `workbench services up` started here, whose
addresses and credentials stand in `$WORKBENCH_HOME/services.json` (readable by their owner only).
Secrets never leave this module in a `repr`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path


def project() -> Path:
    """Return the nearest folder at or above this one with `notebooks/` and `params/`, else this.

    So that a path in a params file means the same in a notebook, a batch run and the shell.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return here


def located(path: str | Path) -> Path:
    """Return a path as it is, or from the project's folder if nothing is there."""
    return Path(path) if Path(path).exists() else project() / path


def home() -> Path:
    """Return the folder for services, caches and logs: `WORKBENCH_HOME`, or `.workbench`."""
    return project() / os.environ.get("WORKBENCH_HOME", ".workbench")


@dataclass(frozen=True)
class Endpoints:
    """Addresses and credentials; each is empty where nothing is known.

    Attributes
    ----------
    broker
        `pulsar://host:port` (`WORKBENCH_BROKER`).
    admin
        The broker's REST API, `http://host:port` (`WORKBENCH_ADMIN`).
    archive
        Folder or `s3://bucket[/prefix]` of offloaded objects (`WORKBENCH_ARCHIVE`).
    s3_endpoint
        `http://host:port` of an S3 endpoint that is not AWS (`AWS_ENDPOINT_URL`).
    flink
        REST API and web UI of a Flink session cluster, `http://host:port` (`WORKBENCH_FLINK`).
    s3_key, s3_secret
        `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.
    broker_token
        JSON web token for broker and admin (`WORKBENCH_BROKER_TOKEN`, or the content of the file
        `WORKBENCH_BROKER_TOKEN_FILE`).
    """

    broker: str = field(default="", metadata={"env": "WORKBENCH_BROKER"})
    admin: str = field(default="", metadata={"env": "WORKBENCH_ADMIN"})
    archive: str = field(default="", metadata={"env": "WORKBENCH_ARCHIVE"})
    s3_endpoint: str = field(default="", metadata={"env": "AWS_ENDPOINT_URL"})
    flink: str = field(default="", metadata={"env": "WORKBENCH_FLINK"})
    s3_key: str = field(default="", repr=False, metadata={"env": "AWS_ACCESS_KEY_ID"})
    s3_secret: str = field(default="", repr=False, metadata={"env": "AWS_SECRET_ACCESS_KEY"})
    broker_token: str = field(default="", repr=False, metadata={"env": "WORKBENCH_BROKER_TOKEN"})


def endpoints() -> Endpoints:
    """Return what the environment says, and what the local services say where it is silent."""
    known = _local()
    values = {
        one.name: os.environ.get(one.metadata["env"]) or known.get(one.name, "")
        for one in fields(Endpoints)
    }
    named = os.environ.get("WORKBENCH_BROKER_TOKEN_FILE")
    if named and not values["broker_token"]:
        values["broker_token"] = Path(named).read_text(encoding="utf-8").strip()
    return Endpoints(**values)


def broker_token_file() -> Path:
    """Return a file with the broker's token, for jobs: whoever is told its name learns no secret.

    It is `WORKBENCH_BROKER_TOKEN_FILE`, or one in WORKBENCH_HOME that its owner alone can read.
    """
    if named := os.environ.get("WORKBENCH_BROKER_TOKEN_FILE"):
        return Path(named).resolve()
    path = home().resolve() / "broker-token"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(endpoints().broker_token)
    return path


def _local() -> dict[str, str]:
    path = home() / "services.json"
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    known: dict[str, str] = stored.get("endpoints", {})
    return known

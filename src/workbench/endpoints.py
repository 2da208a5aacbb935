"""Where the outside world is: read from the environment, in this one place.

Whatever is unset falls back to the services that `workbench services up` started here, whose
addresses and credentials stand in `$WORKBENCH_HOME/services.json` (readable by their owner only).
Secrets never leave this module in a `repr`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from workbench import files


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


def private_home() -> Path:
    """Return `home`, made if need be, open to its owner alone whatever the umask."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


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
    kafka
        Kafka's bootstrap servers, `host:port[,host:port]` (`WORKBENCH_KAFKA`).
    kafka_config
        File of a Java client's properties, SASL and TLS among them (`WORKBENCH_KAFKA_CONFIG`).
    schema_registry
        Of Kafka's Avro, `http(s)://host:port` (`WORKBENCH_SCHEMA_REGISTRY`).
    schema_registry_login
        `user:password` (`WORKBENCH_SCHEMA_REGISTRY_LOGIN`, or the content of the file
        `WORKBENCH_SCHEMA_REGISTRY_LOGIN_FILE`).
    flink
        REST API and web UI of a Flink session cluster, `http://host:port` (`WORKBENCH_FLINK`).
    flink_password
        Of user `workbench`, where that REST API wants one (`WORKBENCH_FLINK_PASSWORD`).
    s3_key, s3_secret, s3_token
        `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`; `AWS_SESSION_TOKEN`, where that key is one for
        a while (SSO, STS), and of no other key.
    broker_token
        JSON web token for broker and admin (`WORKBENCH_BROKER_TOKEN`, or the content of the file
        `WORKBENCH_BROKER_TOKEN_FILE`).
    """

    broker: str = field(default="", metadata={"env": "WORKBENCH_BROKER"})
    admin: str = field(default="", metadata={"env": "WORKBENCH_ADMIN"})
    archive: str = field(default="", metadata={"env": "WORKBENCH_ARCHIVE"})
    s3_endpoint: str = field(default="", metadata={"env": "AWS_ENDPOINT_URL"})
    kafka: str = field(default="", metadata={"env": "WORKBENCH_KAFKA"})
    kafka_config: str = field(default="", metadata={"env": "WORKBENCH_KAFKA_CONFIG"})
    schema_registry: str = field(default="", metadata={"env": "WORKBENCH_SCHEMA_REGISTRY"})
    schema_registry_login: str = field(
        default="", repr=False, metadata={"env": "WORKBENCH_SCHEMA_REGISTRY_LOGIN"}
    )
    flink: str = field(default="", metadata={"env": "WORKBENCH_FLINK"})
    s3_key: str = field(default="", repr=False, metadata={"env": "AWS_ACCESS_KEY_ID"})
    s3_secret: str = field(default="", repr=False, metadata={"env": "AWS_SECRET_ACCESS_KEY"})
    s3_token: str = field(default="", repr=False, metadata={"env": "AWS_SESSION_TOKEN"})
    flink_password: str = field(
        default="", repr=False, metadata={"env": "WORKBENCH_FLINK_PASSWORD"}
    )
    broker_token: str = field(default="", repr=False, metadata={"env": "WORKBENCH_BROKER_TOKEN"})


_SECRETS = {  # that may stand in files: endpoint to variable
    name: Endpoints.__dataclass_fields__[name].metadata["env"]
    for name in ("broker_token", "schema_registry_login")
}


_LETS_INTO = {  # what is shown to whom: the local services' is for their addresses alone
    "broker_token": ("broker", "admin"),
    "kafka_config": ("kafka",),
    "flink_password": ("flink",),
    "s3_key": ("s3_endpoint",),
    "s3_secret": ("s3_endpoint",),
}


def endpoints() -> Endpoints:
    """Return what the environment says, and what the local services say where it is silent.

    What lets one into a local service is left out where its address is another's.
    """
    local = _local()
    given = {each.name: _given(each.name, each.metadata["env"]) for each in fields(Endpoints)}
    values = {name: value or local.get(name, "") for name, value in given.items()}
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        values["s3_token"] = ""
    for name, addresses in _LETS_INTO.items():
        if not given[name] and any(values[each] != local.get(each, "") for each in addresses):
            values[name] = ""
    return Endpoints(**values)


def _given(name: str, variable: str) -> str:
    """Return what the environment says, a secret also in the file that it names."""
    value = os.environ.get(variable, "")
    named = os.environ.get(f"{variable}_FILE") if name in _SECRETS else None
    if named and not value:
        return Path(named).read_text(encoding="utf-8").strip()
    return value


def token_for(admin: str) -> str:
    """Return the broker's token for an admin address that somebody names, as `http://host:port`.

    That of the local broker is for its own address alone.
    """
    known = endpoints()
    is_local = known.broker_token == _local().get("broker_token")
    return "" if is_local and admin.rstrip("/") != known.admin else known.broker_token


def broker_token_file() -> Path:
    """Return a file with the broker's token, for jobs: whoever is told its name learns no secret.

    It is `WORKBENCH_BROKER_TOKEN_FILE`, or one in WORKBENCH_HOME that its owner alone can read.
    """
    return _secret_file("broker_token")


def registry_file() -> Path:
    """Return a file with the schema registry's address and its login, a line each, for jobs.

    It is in WORKBENCH_HOME, one for each address, and its owner alone can read it.
    """
    address, login = endpoints().schema_registry.rstrip("/"), endpoints().schema_registry_login
    name, text = hashlib.sha256(address.encode()).hexdigest()[:12], f"{address}\n{login}\n"
    return files.write_text(home().resolve() / f"schema-registry-{name}", text, mode=0o600)


def _secret_file(name: str) -> Path:
    if named := os.environ.get(f"{_SECRETS[name]}_FILE"):
        return Path(named).resolve()
    path = home().resolve() / name.replace("_", "-")
    return files.write_text(path, getattr(endpoints(), name), mode=0o600)


def _local() -> dict[str, str]:
    path = home() / "services.json"
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    addresses: dict[str, str] = stored.get("endpoints", {})
    return addresses

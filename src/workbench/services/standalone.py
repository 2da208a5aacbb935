"""A real Pulsar: its own standalone distribution with the jcloud offloader, on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from workbench import broker, files
from workbench.endpoints import home
from workbench.errors import ServicesError
from workbench.services.artifacts import PULSAR, fetch, function_packages, pulsar_home
from workbench.services.compilation import jar
from workbench.services.jdk import complaint, java
from workbench.services.processes import start
from workbench.services.state import BUCKET, ROLE, State

if TYPE_CHECKING:
    import requests

PORTS = ("broker", "web", "bookie")
# Of what runs a Python function: it would listen on every interface, and is asked on loopback
_INSTANCE = {
    "server.py": ("add_insecure_port('[::]:%d'", "add_insecure_port('127.0.0.1:%d'"),
    "prometheus_client_fix.py": ("addr=''", "addr='127.0.0.1'"),
}
_PULSAR = "org.apache.pulsar"
_SASL = "org.apache.bookkeeper.sasl.SASL"
_DIGEST = "org.apache.zookeeper.server.auth.DigestLoginModule required"
_LOGINS = f"""\
Bookie {{{{ {_DIGEST} user_{ROLE}="{{secret}}"; }}}};
BookKeeper {{{{ {_DIGEST} username="{ROLE}" password="{{secret}}"; }}}};
"""
_FORGET_S = 120  # 1 s on an idle core
_MEMORY = "-Xms256m -Xmx768m -XX:MaxDirectMemorySize=768m"
_INTERCEPTORS = "org.apache.pulsar.common.intercept.Append{}MetadataInterceptor"


def _settings(state: State, folder: Path) -> dict[str, object]:
    """Return what differs from the distribution's `standalone.conf`, and why."""
    ports = state["ports"]
    return {
        "brokerServicePort": ports["broker"],
        "webServicePort": ports["web"],
        "bindAddress": "127.0.0.1",
        "advertisedAddress": "127.0.0.1",
        "listeningInterface": "lo",  # the bookie's, which then listens at the advertised address
        "allowEphemeralPorts": "true",  # else --bookkeeper-port does not count
        "narExtractionDirectory": folder / "tmp",
        "STORAGE_PATH": folder / "packages",  # of functions; by default beside the distribution
        # offload when told to, to our S3 endpoint; `S3` takes one, `aws-s3` does not
        "managedLedgerOffloadDriver": "S3",
        "offloadersDirectory": folder / "offloaders",
        "managedLedgerOffloadBucket": BUCKET,
        "managedLedgerOffloadRegion": "us-east-1",
        "managedLedgerOffloadServiceEndpoint": state["endpoints"]["s3_endpoint"],
        "managedLedgerOffloadMaxBlockSizeInBytes": 8 << 20,  # smaller ones may truncate
        "managedLedgerOffloadDeletionLagMs": state["options"]["deletion_lag_ms"],
        # history stays: a ledger that is trimmed takes its objects with it
        "defaultRetentionTimeInMinutes": -1,
        "defaultRetentionSizeInMB": -1,
        "brokerDeleteInactiveTopicsEnabled": "false",
        # a dense offset and the broker's clock on every entry
        "brokerEntryMetadataInterceptors": ",".join(
            _INTERCEPTORS.format(interceptor) for interceptor in ("BrokerTimestamp", "Index")
        ),
        "transactionCoordinatorEnabled": "true",
        **_let_in(state, folder),
    }


def _let_in(state: State, folder: Path) -> dict[str, str]:
    """Write what lets one in, for its owner alone; return what broker and bookie are told."""
    key = files.write_bytes(folder / "token.key", bytes.fromhex(state["broker_key"]), mode=0o600)
    files.write_text(folder / "token", state["endpoints"]["broker_token"], mode=0o600)
    logins = _LOGINS.format(secret=state["bookie_secret"])
    files.write_text(folder / "logins.conf", logins, mode=0o600)
    return {
        "authenticationEnabled": "true",
        "authenticationProviders": f"{_PULSAR}.broker.authentication.AuthenticationProviderToken",
        "authenticateMetricsEndpoint": "true",
        "superUserRoles": ROLE,
        "tokenSecretKey": key.resolve().as_uri(),
        **_itself(folder),
        "bookieAuthProviderFactoryClass": f"{_SASL}BookieAuthProviderFactory",
        "saslJaasClientAllowedIds": ROLE,
        "bookkeeperClientAuthenticationPlugin": f"{_SASL}ClientProviderFactory",
        "bookkeeperClientAuthenticationParametersName": "saslJaasClientSectionName",
        "bookkeeperClientAuthenticationParameters": "BookKeeper",
    }


def _itself(folder: Path) -> dict[str, str]:
    """Return what the broker, and its functions worker, are told of logging in to the broker."""
    return {
        "brokerClientAuthenticationPlugin": f"{_PULSAR}.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": (folder / "token").resolve().as_uri(),
    }


def launch(state: State) -> None:
    """Start the broker with its bookie."""
    distribution, folder = pulsar_home(), home() / "pulsar"
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    _install_offloader(folder / "offloaders")
    conf = folder / "standalone.conf"
    files.write_text(conf, _configure(distribution, _settings(state, folder)))
    command = [distribution / "bin" / "pulsar", "standalone", "-nss"]
    _forget_bookies(distribution, folder)
    functions = state["options"]["functions"]
    if functions:
        _keep_functions_in(distribution / "instances" / "python-instance")
    command += ["-fwc", _worker_conf(distribution, folder)] if functions else ["-nfw"]
    places = ["--metadata-dir", folder / "metadata", "--bookkeeper-dir", folder / "bookkeeper"]
    start(
        "pulsar",
        [*command, *places, "--bookkeeper-port", str(state["ports"]["bookie"])],
        {
            "JAVA_HOME": str(java().parent.parent),
            "PULSAR_MEM": _MEMORY,
            "PULSAR_GC": "-XX:+UseG1GC",
            "PULSAR_EXTRA_OPTS": f"-Djava.io.tmpdir={folder / 'tmp'} "
            f"-Djava.security.auth.login.config={folder / 'logins.conf'}",
            "PULSAR_STANDALONE_CONF": str(conf),
            "PULSAR_LOG_DIR": str(home() / "logs"),
            "ACCESS_KEY_ID": state["endpoints"]["s3_key"],
            "ACCESS_KEY_SECRET": state["endpoints"]["s3_secret"],
            # functions run on `python3`: let that be this one
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
    )


def _forget_bookies(distribution: Path, folder: Path) -> None:
    """Remove what a bookie that was killed left behind: `java/standalone` says why.

    The jar is made at the first start, though nothing is left behind then: later there may be no
    network to fetch a compiler from.
    """
    sources, lib = Path(__file__).parent / "java" / "standalone", distribution / "lib"
    ours = jar(sources, sorted(lib.glob("org.apache.pulsar-pulsar-metadata-*.jar")))
    metadata = folder / "metadata"
    if not metadata.is_dir():
        return
    options = [f"-Djava.io.tmpdir={folder / 'tmp'}", "-cp", f"{ours}:{lib}/*"]
    command = [str(java()), *options, "ForgetBookies", str(metadata)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FORGET_S)
        if not done.returncode:
            return
        said = complaint(done.stderr) or f"Java ended with {done.returncode}"  # if it was killed
    except subprocess.TimeoutExpired:
        said = f"no answer within {_FORGET_S:g} s"
    raise ServicesError(
        f"Pulsar's metadata cannot be opened: {said}",
        where=metadata,
        hint="does another Pulsar run on it? workbench services status",
    )


def _keep_functions_in(folder: Path) -> None:
    for name, (shipped, ours) in _INSTANCE.items():
        path = folder / name
        text = path.read_text(encoding="utf-8")
        if ours not in text:
            if shipped not in text:
                raise ServicesError(f"it has no {shipped}: where would it listen?", where=path)
            files.write_text(path, text.replace(shipped, ours))


def _worker_conf(distribution: Path, folder: Path) -> Path:
    """Write the functions worker's settings; addresses come from the broker's."""
    shipped = (distribution / "conf" / "functions_worker.yml").read_text(encoding="utf-8")
    settings = yaml.safe_load(shipped)
    settings["downloadDirectory"] = str(folder / "functions")
    settings |= _itself(folder) | {"brokerClientAuthenticationEnabled": True}
    settings["functionRuntimeFactoryConfigs"] |= {
        "logDirectory": str(home() / "logs"),
        "extraFunctionDependenciesDir": str(function_packages()),  # on PYTHONPATH, in front
    }
    return files.write_text(folder / "functions_worker.yml", yaml.safe_dump(settings))


def _install_offloader(folder: Path) -> None:
    (jar,) = fetch("offloader")
    nar = folder / f"tiered-storage-jcloud-{PULSAR}.nar"  # the jar is the nar
    if not nar.exists():
        with files.new_file(nar) as part:
            shutil.copyfile(jar, part)


def _configure(distribution: Path, settings: dict[str, object]) -> str:
    shipped = (distribution / "conf" / "standalone.conf").read_text(encoding="utf-8")
    kept = [line for line in shipped.splitlines() if line.split("=")[0] not in settings]
    return "\n".join([*kept, *(f"{key}={value}" for key, value in settings.items()), ""])


def missing(state: State) -> str:
    """Return what is not ready yet: nothing once it is healthy and has its default namespace.

    With functions, once their worker answers too, which takes it a while longer.
    """
    try:
        health = _ask(state, "/brokers/health")
        if not health.ok:
            return f"its health check answers {health.status_code}"
        namespaces = _ask(state, "/namespaces/public")
        # health alone is a race: the default namespace is made a little later
        if not namespaces.ok or "public/default" not in namespaces.text:
            return "there is no namespace public/default"
        if state["options"]["functions"]:
            worker = _ask(state, "/worker/cluster/leader/ready")
            if not worker.ok or worker.text != "true":
                return f"its functions worker answers {worker.status_code}"
    except ServicesError as err:
        return f"its admin port does not answer ({err.message})"
    return ""


def _ask(state: State, path: str) -> requests.Response:
    servers = state["endpoints"]
    return broker.admin(
        "GET", path, url=servers["admin"], token=servers["broker_token"], timeout_s=5
    )

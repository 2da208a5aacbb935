"""Write the files with which a stream runs on Kubernetes; nothing is started.

    deploy/NAME/Dockerfile             Flink, Python, this package, the connector's jars
    deploy/NAME/flinkdeployment.yaml   for the Flink Kubernetes operator
    deploy/NAME/run-application.sh     the same without the operator, by Flink's own client
    deploy/NAME/conf/, pod.yaml        what that one reads: logging, the pod template
    deploy/NAME/jars/                  what the image takes besides the project

Both ways start from the same settings and the same pod template. Secrets are referred to, never
written: the Secret `workbench` holds `aws-access-key-id`, `aws-secret-access-key`, of a key for a
while `aws-session-token` too, and where the queue wants them `broker-token` and `kafka-properties`;
the volume claim `workbench-store` holds packages and promotions.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import files
from workbench.endpoints import endpoints, project
from workbench.errors import StreamError
from workbench.services import FLINK
from workbench.stream.connectors.topics import job_jars
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.running.job import JOB_SETTINGS
from workbench.stream.running.retention import retention
from workbench.stream.selection import select

_PROJECT = "/opt/workbench"
_STORE = f"{_PROJECT}/store"
_SECRETS = "/etc/workbench"
_SECRET = "workbench"  # noqa: S105 - the name of a Secret, not its content
_PYTHON = "/usr/local/bin/python3"
METRICS_PORT = 9249  # of each pod, for Prometheus
_REPORTER = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
_MODULE = "workbench.stream.running.application"

_DOCKERFILE = """# Build in the project's folder: docker build -f {folder}/Dockerfile -t {image} .
FROM flink:{flink}-java17 AS flink

FROM python:3.11-slim
COPY --from=flink /opt/java/openjdk /opt/java/openjdk
COPY --from=flink /opt/flink /opt/flink
COPY --from=flink /docker-entrypoint.sh /docker-entrypoint.sh
ENV FLINK_HOME=/opt/flink JAVA_HOME=/opt/java/openjdk WORKBENCH_STORE={store} \\
    PATH=/opt/flink/bin:/opt/java/openjdk/bin:/usr/local/bin:/usr/bin:/bin
RUN apt-get update && apt-get install -y --no-install-recommends gettext-base libjemalloc2 \\
    && rm -rf /var/lib/apt/lists/* \\
    && mkdir -p /opt/flink/plugins/s3 \\
    && cp /opt/flink/opt/flink-s3-fs-presto-{flink}.jar /opt/flink/plugins/s3/ \\
    && cp /opt/flink/opt/flink-python-{flink}.jar /opt/flink/lib/ \\
    && useradd --uid 9999 --home-dir {project} flink
COPY requirements.lock pyproject.toml README.md LICENSE {project}/
RUN pip install --no-cache-dir --require-hashes -r {project}/requirements.lock
COPY src {project}/src
RUN pip install --no-cache-dir --no-deps {project}
COPY streams {project}/streams
RUN mkdir -p {project}/notebooks {project}/params {store} && chown -R flink /opt/flink {project}
COPY {folder}/jars/*.jar /opt/flink/lib/
USER flink
WORKDIR {project}
ENTRYPOINT ["/docker-entrypoint.sh"]
"""

# Beam prints the environment of the Python workers, and it holds the object store's secret
_LOGGING = """rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
logger.beam.name = org.apache.beam.runners.fnexecution
logger.beam.level = OFF
"""


@dataclass(frozen=True)
class Deployment:
    """What was written.

    Attributes
    ----------
    folder
        Of the files.
    name
        Of the Kubernetes resources: the stream's, with `-` for `_`.
    image
        What the image is to be called.
    """

    folder: Path
    name: str
    image: str


def write_deployment(
    stream: str | Path | Stream,
    *,
    bucket: str,
    image: str | None = None,
    folder: Path | None = None,
    package: str | None = None,
) -> Deployment:
    """Write what Kubernetes needs to run a stream.

    Parameters
    ----------
    bucket
        `s3://bucket[/prefix]` for checkpoints and savepoints.
    image
        Name of the image; None: `workbench-NAME`.
    folder
        Within the project; None: `deploy/NAME`.
    package
        Id of a package in place of the stream's detector.

    Raises
    ------
    StreamError
        If the stream or its package is wrong, it reads Avro, or `bucket` is no bucket.
    """
    definition = load_stream(stream)
    if definition.record:
        raise StreamError(
            f"stream {definition.name} reads Avro, whose registry no file here tells a cluster of",
            hint="run it on a session cluster",
        )
    select(definition, package)
    if not bucket.startswith("s3://") or not bucket.removeprefix("s3://"):
        raise StreamError(f"checkpoints go to {bucket!r}", hint="s3://bucket[/prefix] is needed")
    name = definition.name.replace("_", "-").lower()
    target = folder or project() / "deploy" / definition.name
    deployment = Deployment(target, name, image or f"workbench-{name}")
    (target / "jars").mkdir(parents=True, exist_ok=True)
    for jar in job_jars(definition):
        shutil.copyfile(jar, target / "jars" / jar.name)
    settings, pod = _settings(deployment, bucket), _pod()
    arguments = [definition.name, *(["--package", package] if package else [])]
    place = target.resolve().relative_to(project().resolve())
    files.write_text(
        target / "Dockerfile",
        _DOCKERFILE.format(
            folder=place, image=deployment.image, flink=FLINK, store=_STORE, project=_PROJECT
        ),
    )
    files.write_text(
        target / "flinkdeployment.yaml",
        _yaml(_operator(deployment, settings, pod, arguments)),
    )
    files.write_text(target / "pod.yaml", _yaml(pod))
    (target / "conf").mkdir(exist_ok=True)
    files.write_text(target / "conf" / "log4j-console.properties", _LOGGING)
    files.write_text(target / "conf" / "config.yaml", "")  # all of it stands in the command
    script = _native(deployment, settings, arguments, place)
    files.write_text(target / "run-application.sh", script, mode=0o755)
    return deployment


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


def _settings(made: Deployment, bucket: str) -> dict[str, str]:
    """Return Flink's settings, the same with and without the operator."""
    base = f"{bucket.rstrip('/')}/{made.name}"
    return {
        **JOB_SETTINGS,
        "taskmanager.numberOfTaskSlots": "1",
        **retention(f"{base}/checkpoints"),
        "execution.checkpointing.savepoint-dir": f"{base}/savepoints",
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": f"{base}/ha",
        "s3.endpoint": endpoints().s3_endpoint or "https://s3.amazonaws.com",
        "s3.path.style.access": "true",
        "python.executable": _PYTHON,
        "python.client.executable": _PYTHON,
        "metrics.reporters": "prom",  # Flink's own, of its plugins folder; on the pods' network
        "metrics.reporter.prom.factory.class": _REPORTER,
        "metrics.reporter.prom.port": str(METRICS_PORT),
    }


def _pod() -> dict[str, Any]:
    """Return the pod template of JobManager and TaskManagers: where things are, and no secret."""
    servers = endpoints()
    plain = {
        "WORKBENCH_STORE": _STORE,
        "WORKBENCH_BROKER": servers.broker,
        "WORKBENCH_ADMIN": servers.admin,
        "WORKBENCH_BROKER_TOKEN_FILE": f"{_SECRETS}/broker-token" if servers.broker_token else "",
        "WORKBENCH_KAFKA": servers.kafka,
        "WORKBENCH_KAFKA_CONFIG": f"{_SECRETS}/kafka-properties" if servers.kafka_config else "",
    }
    secret: dict[str, dict[str, dict[str, Any]]] = {
        variable: {"secretKeyRef": {"name": _SECRET, "key": variable.lower().replace("_", "-")}}
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    }
    secret["AWS_SESSION_TOKEN"]["secretKeyRef"]["optional"] = True  # a key that stays has none
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod-template"},
        "spec": {
            "containers": [
                {
                    "name": "flink-main-container",  # the name that Flink looks for
                    "env": [
                        *({"name": key, "value": value} for key, value in plain.items() if value),
                        *({"name": key, "valueFrom": value} for key, value in secret.items()),
                    ],
                    "volumeMounts": [
                        {"name": "store", "mountPath": _STORE},
                        {"name": "secrets", "mountPath": _SECRETS, "readOnly": True},
                    ],
                }
            ],
            "volumes": [
                {"name": "store", "persistentVolumeClaim": {"claimName": "workbench-store"}},
                {"name": "secrets", "secret": {"secretName": _SECRET}},
            ],
        },
    }


def driver(arguments: list[str], *, python: str = _PYTHON) -> list[str]:
    """Return the arguments of Flink's PythonDriver that start a stream as an application."""
    return ["-pyclientexec", python, "-pym", _MODULE, *arguments]


def _operator(
    deployment: Deployment, settings: dict[str, str], pod: dict[str, Any], arguments: list[str]
) -> dict[str, Any]:
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkDeployment",
        "metadata": {"name": deployment.name},
        "spec": {
            "image": deployment.image,
            "flinkVersion": "v1_20",
            "serviceAccount": "flink",
            "flinkConfiguration": settings,
            "logConfiguration": {"log4j-console.properties": _LOGGING},
            "podTemplate": pod,
            "jobManager": {"resource": {"memory": "1600m", "cpu": 1}},
            "taskManager": {"resource": {"memory": "2048m", "cpu": 1}},
            "job": {
                "jarURI": f"local:///opt/flink/opt/flink-python-{FLINK}.jar",
                "entryClass": "org.apache.flink.client.python.PythonDriver",
                "args": driver(arguments),
                "parallelism": 1,
                "upgradeMode": "savepoint",
                "state": "running",
            },
        },
    }


def _native(
    deployment: Deployment, settings: dict[str, str], arguments: list[str], folder: Path
) -> str:
    options = {
        "kubernetes.cluster-id": deployment.name,
        "kubernetes.container.image.ref": deployment.image,
        "kubernetes.service-account": "flink",
        "kubernetes.pod-template-file.default": f"{folder}/pod.yaml",
        "jobmanager.memory.process.size": "1600m",
        "taskmanager.memory.process.size": "2048m",
        **settings,
    }
    command = "flink run-application --target kubernetes-application \\"
    lines = [f"  '-D{key}={value}' \\" for key, value in options.items()]
    module = " ".join(["-pym", _MODULE, *arguments])
    head = f"# Without the operator: Flink {FLINK}'s own client, in the project's folder."
    return "\n".join(
        [
            "#!/bin/sh",
            head,
            "set -eu",
            f"export FLINK_CONF_DIR={folder}/conf",
            command,
            *lines,
            f"  {module}",
            "",
        ]
    )


__all__ = ["Deployment", "driver", "write_deployment"]

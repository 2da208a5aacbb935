"""A real S3 endpoint on a folder: s3proxy, one bucket, credentials made at first start."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from workbench import files
from workbench.endpoints import Endpoints, home
from workbench.services.artifacts import fetch
from workbench.services.jdk import java
from workbench.services.processes import start
from workbench.services.state import BUCKET, State

if TYPE_CHECKING:
    from botocore.client import BaseClient

PORTS = ("s3",)
_PROPERTIES = """\
s3proxy.endpoint={s3_endpoint}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={s3_key}
s3proxy.credential={s3_secret}
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir={objects}
jclouds.identity={s3_key}
jclouds.credential={s3_secret}
"""
_LOGBACK = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""  # it logs every request at DEBUG otherwise


def launch(state: State) -> None:
    """Start s3proxy."""
    folder = home() / "s3"
    objects = folder / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    settings = _PROPERTIES.format(objects=objects, **state["endpoints"])
    properties = files.write_text(folder / "s3proxy.conf", settings, mode=0o600)
    logback = files.write_text(folder / "logback.xml", _LOGBACK)
    class_path = ":".join(map(str, fetch("s3proxy")))
    options = ["-Xmx256m", "-XX:+UseSerialGC", f"-Dlogback.configurationFile={logback}"]
    main = ["org.gaul.s3proxy.Main", "--properties", properties]
    start("s3", [java(), *options, "-cp", class_path, *main], {})


def missing(state: State) -> str:
    """Return what is not ready yet: nothing once an object went in and came back."""
    from botocore.exceptions import BotoCoreError, ClientError

    s3, key, body = (
        client(Endpoints(**state["endpoints"])),
        ".workbench-probe",
        secrets.token_bytes(16),
    )
    try:
        if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        read: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        s3.delete_object(Bucket=BUCKET, Key=key)
    except (BotoCoreError, ClientError) as err:
        return str(err)
    return "" if read == body else "an object came back with other bytes"


def client(servers: Endpoints) -> BaseClient:
    """Return an S3 client for these endpoints; it gives up after a few seconds."""
    import botocore.config
    import botocore.session

    config = botocore.config.Config(
        connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}
    )
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=servers.s3_endpoint or None,
        aws_access_key_id=servers.s3_key or None,
        aws_secret_access_key=servers.s3_secret or None,
        aws_session_token=servers.s3_token or None,
        config=config,
    )

"""The files of a deployment, held against the schema in the operator's own API jar."""

import subprocess
import zipfile
from importlib.metadata import distribution

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from workbench.cli import cli
from workbench.errors import StreamError
from workbench.services import artifacts
from workbench.stream import parse_stream
from workbench.stream.promotion_log import add_package
from workbench.stream.running.kubernetes import write_deployment
from workbench.stream.running.retention import retention

SECRETS = {
    "AWS_ACCESS_KEY_ID": "planted-id",
    "AWS_SECRET_ACCESS_KEY": "planted-secret",
    "AWS_SESSION_TOKEN": "planted-session",
    "WORKBENCH_BROKER_TOKEN": "planted-token",
}


@pytest.fixture(scope="module")
def schema():
    """The FlinkDeployment schema, made strict: Kubernetes drops unknown keys in silence."""
    (jar,) = artifacts.fetch("operator")
    with zipfile.ZipFile(jar) as opened:
        crd = yaml.load(
            opened.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"),
            Loader=yaml.CSafeLoader,
        )
    (version,) = crd["spec"]["versions"]
    strict = _strict(version["schema"]["openAPIV3Schema"])
    # what the API server adds to a resource's schema: its kind, version and metadata
    known = {"apiVersion": {"const": "flink.apache.org/v1beta1"}, "metadata": {"type": "object"}}
    strict["properties"] |= {"kind": {"const": "FlinkDeployment"}, **known}
    return jsonschema.Draft202012Validator(strict)


def _strict(schema):
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], dict):
        made["properties"] = {key: _strict(one) for key, one in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


@pytest.fixture
def made(store, package_folder, content, tmp_path, monkeypatch):
    """A deployment of a stream, written with secrets around."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://plant:6650")
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://plant:8080")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_STORE", str(store))
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "north_pumps.yaml").write_text(yaml.safe_dump(content()))
    package = add_package(package_folder)
    return write_deployment("north_pumps", bucket="s3://plant-flink", package=package)


def deployment(made):
    return yaml.safe_load((made.folder / "flinkdeployment.yaml").read_text())


def test_the_deployment_fits_the_schema_of_the_operator(made, schema):
    schema.validate(deployment(made))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "imagee"), "x"),
        (("spec", "job", "jarUri"), "x"),
        (("spec", "flinkVersion"), "v1_99"),
        (("spec", "podTemplate", "spec", "volumess"), []),
    ],
)
def test_the_schema_refuses_what_is_wrong(made, schema, path, value):
    wrong = deployment(made)
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    with pytest.raises(jsonschema.ValidationError):
        schema.validate(wrong)


def test_no_secret_is_written(made):
    written = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}

    assert [
        (path, secret)
        for path, content in written.items()
        for secret in SECRETS.values()
        if secret.encode() in content
    ] == []
    refs = {name: entry.get("valueFrom") for name, entry in variables(made).items()}
    assert refs["AWS_SECRET_ACCESS_KEY"] == {
        "secretKeyRef": {"name": "workbench", "key": "aws-secret-access-key"}
    }
    assert refs["WORKBENCH_BROKER"] is None


def test_flink_tells_prometheus_by_a_reporter_that_its_image_has(made):
    settings = deployment(made)["spec"]["flinkConfiguration"]
    plugin = distribution("apache-flink").locate_file("pyflink/plugins/metrics-prometheus")
    (jar,) = plugin.glob("*.jar")  # of the same release as the image

    assert settings["metrics.reporters"] == "prom"
    assert settings["metrics.reporter.prom.port"] == "9249"
    name = settings["metrics.reporter.prom.factory.class"].replace(".", "/")
    assert f"{name}.class" in zipfile.ZipFile(jar).namelist()
    script = (made.folder / "run-application.sh").read_text()
    assert "metrics.reporter.prom.factory.class" in script


def variables(made):
    container = deployment(made)["spec"]["podTemplate"]["spec"]["containers"][0]
    return {entry["name"]: entry for entry in container["env"]}


def test_a_key_for_a_while_has_its_token_and_one_that_stays_needs_none(made):
    assert variables(made)["AWS_SESSION_TOKEN"]["valueFrom"] == {
        "secretKeyRef": {"name": "workbench", "key": "aws-session-token", "optional": True}
    }


def test_a_stream_of_kafka_is_told_where_it_is_and_where_its_secrets_are(
    made, content, tmp_path, monkeypatch
):
    properties = tmp_path / "client.properties"
    properties.write_text("sasl.jaas.config=planted-login\n")
    monkeypatch.setenv("WORKBENCH_KAFKA", "plant:9092")
    monkeypatch.setenv("WORKBENCH_KAFKA_CONFIG", str(properties))
    queue = content(topic="kafka://pumps", alerts="kafka://alerts", detector="none")
    stream = parse_stream("queue", {**queue, "limits": {"over": "pressure_bar > 3"}})

    written = variables(write_deployment(stream, bucket="s3://plant-flink"))

    assert written["WORKBENCH_KAFKA"]["value"] == "plant:9092"
    assert written["WORKBENCH_KAFKA_CONFIG"]["value"] == "/etc/workbench/kafka-properties"


def test_a_job_survives_on_kubernetes_as_it_does_on_a_session_cluster(made):
    configuration = deployment(made)["spec"]["flinkConfiguration"]
    wanted = retention("s3://plant-flink/north-pumps/checkpoints")

    assert {key: configuration.get(key) for key in wanted} == wanted


def test_a_stream_without_a_detector_is_deployed(made, content, tmp_path):
    limits = content(detector="none", limits={"over": "pressure_bar > 3"})
    (tmp_path / "streams" / "limits.yaml").write_text(yaml.safe_dump(limits))

    assert write_deployment("limits", bucket="s3://plant-flink").name == "limits"


def test_both_ways_start_from_the_same_settings(made):
    spec = deployment(made)["spec"]
    script = (made.folder / "run-application.sh").read_text()

    assert spec["flinkConfiguration"]["execution.checkpointing.dir"] == (
        "s3://plant-flink/north-pumps/checkpoints"
    )
    for key, value in spec["flinkConfiguration"].items():
        assert f"'-D{key}={value}' \\" in script
    assert yaml.safe_load((made.folder / "pod.yaml").read_text()) == spec["podTemplate"]
    assert script.rstrip().endswith(" ".join(spec["job"]["args"][2:]))
    subprocess.run(["sh", "-n", made.folder / "run-application.sh"], check=True)


def test_the_image_takes_every_jar_of_the_job(made):
    jars = {path.name for path in (made.folder / "jars").iterdir()}

    assert any(name.startswith("flink-connector-pulsar") for name in jars)
    assert "COPY deploy/north_pumps/jars/*.jar" in (made.folder / "Dockerfile").read_text()


def test_a_stream_of_avro_is_not_deployed_where_no_registry_is_known(content):
    stream = parse_stream("avro", content(topic="kafka://avro", record="Reading"))

    with pytest.raises(StreamError) as error:
        write_deployment(stream, bucket="s3://checkpoints")

    assert str(error.value) == (
        "stream avro reads Avro, whose registry no file here tells a cluster of\n"
        "  run it on a session cluster"
    )


def test_checkpoints_in_no_bucket_are_refused(made):
    with pytest.raises(StreamError) as error:
        write_deployment("north_pumps", bucket="plant", package=made_package())

    assert str(error.value) == "checkpoints go to 'plant'\n  s3://bucket[/prefix] is needed"


def made_package():
    from workbench.stream.promotion_log import store

    (one,) = (store() / "packages").iterdir()
    return one.name


def test_the_command_writes_a_deployment(made):
    asked = ["stream", "run", "north_pumps", "--target", "kubernetes", "--bucket", "s3://plant"]

    result = CliRunner().invoke(cli, [*asked, "--package", made_package()], catch_exceptions=False)

    assert result.exit_code == 0
    assert result.output.splitlines()[0] == f"written: {made.folder}"

"""A secret reaches no file of the run store, wherever it was planted."""

import base64
import json

import pytest

from workbench import runs
from workbench.errors import ParamsError, RunError

SECRET = 'hunter2&<"x\\y">/+=é'  # noqa: S105 - planted


@pytest.fixture
def secret(project, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(project.path / "home"))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (project.path / "home").mkdir()
    known = {"s3_key": "key-of-the-bucket", "s3_secret": SECRET}
    (project.path / "home/services.json").write_text(json.dumps({"endpoints": known}))
    monkeypatch.setenv("PLANT_DB_PASSWORD", "swordfish-1959")
    return project


def kept(project):
    """Everything in the store, as bytes and as what JSON and HTML say."""
    files = [path for path in (project.path / "runs").rglob("*") if path.is_file()]
    return b"\n".join(path.read_bytes() for path in files).decode(errors="replace")


def spilt(text):
    forms = [
        "hunter2",
        "swordfish",
        "key-of-the-bucket",
        base64.b64encode(SECRET.encode()).decode(),
    ]
    return [form for form in forms if form in text]


@pytest.mark.notebook
def test_what_a_notebook_prints_records_shows_or_raises_holds_no_secret(secret):
    notebook = secret.notebook(
        "# a claim: the password is swordfish-1959",
        "import base64, os\nimport pandas as pd\nfrom workbench.endpoints import endpoints",
        "from workbench.runs import folder, record\nknown = endpoints()",
        "print(known.s3_secret, repr(known.s3_secret), known.s3_key)\nvars(known)",
        "pd.DataFrame({known.s3_secret: [os.environ['PLANT_DB_PASSWORD']]})",
        "print(base64.b64encode(known.s3_secret.encode()).decode(), 'swordfish-1959')",
        "manifest = {'topic': 'pumps', 'url': f's3://{known.s3_key}:{known.s3_secret}@bucket'}",
        "(folder() / 'notes.txt').write_text(known.s3_secret)",
        "record({'said': known.s3_secret, 'kept': 1}, data=manifest)",
        "raise PermissionError(f'{known.s3_key}:{known.s3_secret} was refused')",
    )

    with pytest.raises(RunError) as error:
        runs.train(notebook, secret.params(""))

    (run,) = runs.runs()
    assert run.reason == "PermissionError: [secret]:[secret] was refused"
    assert run.metrics == {"said": "[secret]", "kept": 1}
    assert spilt(kept(secret)) == spilt(str(error.value)) == []


@pytest.mark.notebook
def test_a_package_with_a_secret_in_it_fails_the_run_and_is_not_kept(secret):
    notebook = secret.notebook(
        "import json, os\nfrom pathlib import Path\nfrom workbench.runs import folder, record",
        "package = folder() / 'detector'\npackage.mkdir()",
        "text = json.dumps({'class': os.environ['PLANT_DB_PASSWORD']})",
        "(package / 'detector.json').write_text(text)\nrecord({}, detector_package=package)",
    )

    with pytest.raises(RunError):
        runs.train(notebook, secret.params(""))

    (run,) = runs.runs()
    assert run.reason == "a secret stood in detector/detector.json: removed"
    assert run.package is None
    assert spilt(kept(secret)) == []


def test_a_secret_among_the_parameters_is_refused_and_not_repeated(secret):
    secret.notebook()
    secret.params("window: swordfish-1959\nsensor: pump-1")

    with pytest.raises(ParamsError) as error:
        runs.train("notebooks/20_try.ipynb", "params/20_try-a.yaml")

    assert str(error.value) == (
        "window holds a secret\n  in params/20_try-a.yaml:1\n"
        "  endpoints and secrets come from the environment"
    )


@pytest.mark.notebook
def test_progress_and_a_sweep_hold_no_secret(secret, capfd):
    secret.notebook("import os\nraise ValueError(os.environ['PLANT_DB_PASSWORD'])")

    runs.sweep([secret.params("window: 3")], notebook="notebooks/20_try.ipynb")

    out, told = capfd.readouterr()
    assert "ValueError: [secret]" in told
    assert spilt(out + told + kept(secret)) == []

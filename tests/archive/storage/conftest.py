"""An S3 endpoint of any folder, which counts what it is asked."""

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from workbench import archive

ROOT = Path(__file__).parents[3]


@dataclass
class Endpoint:
    """An endpoint that serves one bucket, `s3://b`."""

    url: str
    key: str = "an-access-key"
    secret: str = "what-goes-with-it"  # noqa: S105 - the endpoint takes any

    def open(self, prefix="", **options):
        """Return the archive in its bucket."""
        url = f"s3://b{prefix}"
        return archive.open(url, endpoint_url=self.url, key=self.key, secret=self.secret, **options)

    def requests(self):
        """Return how often it was asked so far, by kind."""
        return requests.get(self.url, timeout=60).json()


@pytest.fixture
def serving():
    """Serve a folder while the context lasts."""

    @contextlib.contextmanager
    def serve(folder, *options):
        script = str(ROOT / "benchmarks" / "stand_in_s3.py")
        command = [sys.executable, script, "--folder", str(folder), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                yield Endpoint(server.stdout.readline().strip())
            finally:
                server.kill()

    return serve


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Keep what is kept in a folder of the test's own."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "home"

"""A server over the sample archive, and what asks it."""

import threading
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "data" / "archive"


@pytest.fixture(scope="session")
def decoded(tmp_path_factory):
    """Return the folder of decoded columns that the servers of the sample share."""
    return tmp_path_factory.mktemp("columns")


@pytest.fixture
def serve(decoded):
    """Give a function that starts a server, of the sample unless told otherwise."""
    from workbench.serve import Server

    started = []

    def start(url=SAMPLE, **options):
        server = Server(str(url), port=0, **{"cache": decoded, **options})
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect():
    """Give a function that connects psycopg to a server."""
    import psycopg

    opened = []

    def to(server, **options):
        options = {"user": "w", "dbname": "archive", "autocommit": True, **options}
        host, port = server.server_address[:2]
        opened.append(psycopg.connect(host=host, port=port, **options))
        return opened[-1]

    yield to
    for connection in opened:
        connection.close()

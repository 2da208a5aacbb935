"""A real HTTP server as target, and alerts as a job sends them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workbench.stream import parse_stream


class Received:
    """What came to the server; `statuses` are what it answers next, then 200.

    `after` is the `retry-after` of what it refuses.
    """

    def __init__(self):
        self.posts = []
        self.statuses = []
        self.after = ""
        self.url = ""

    def start(self):
        """Listen; again at the same port after a stop."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        serve = self._http.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self):
        """Be gone: a connection is refused."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(received):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.posts.append((self.path, dict(self.headers), body))
            status = received.statuses.pop(0) if received.statuses else 200
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"{received.url}/elsewhere")
            if status != 200 and received.after:
                self.send_header("retry-after", received.after)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def server():
    received = Received()
    received.start()
    yield received
    received.stop()


@pytest.fixture
def stream():
    def make(route, **changes):
        content = {
            "topic": "persistent://public/default/pumps",
            "sensor": "pump",
            "channels": ["flow_l_min"],
            "alerts": "persistent://public/default/alerts",
            "window": 10,
            "limits": {"high": "flow_l_min > 9"},
            "severities": {"high": "critical", "clock": "info"},
            "routes": {"shift": route},
        }
        return parse_stream("plant", {**content, **changes})

    return make


@pytest.fixture
def alert():
    def make(number, status="open", **changes):
        stop = "2026-01-15T07:00:00.000Z" if status == "closed" else None
        return {
            "id": f"{number:032x}", "stream": "plant", "sensor": "line-1-pump-1",
            "kind": "episode", "status": status, "start": "2026-01-15T06:30:00.000Z",
            "peak_time": "2026-01-15T06:31:00.000Z", "stop": stop, "peak_score": 14.0,
            "threshold": 5.0, "readings": 3, "channels": {"flow_l_min": 9.5}, "package": "ab",
            "first_message_id": "1:0:-1:-1", "last_message_id": "1:2:-1:-1", **changes,
        }  # fmt: skip

    return make

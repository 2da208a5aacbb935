"""A broker whose answer to a seek comes when the client is connecting anew already.

A proxy before the real one, which reads the frames that it hands on: [size][size of the command]
[command], the command's type first (PulsarApi.proto). The broker tells a consumer of a seek that it
is closed; the answer to the seek is held back until the client subscribes again, and the answer to
that for a moment, as where a disk is slow.
"""

import contextlib
import socket
import struct
import threading
import time

SUBSCRIBE, SUCCESS, CLOSE_CONSUMER = 4, 13, 16
MOMENT_S = 0.2
LONGEST_S = 10


class SlowSeeks:
    """Listens on `port`, for a broker on another; `connections` counts those that were made."""

    def __init__(self, broker_port):
        self.broker_port = broker_port
        self.listening = listening(len(str(broker_port)))
        self.port = self.listening.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):  # the test is over
            while True:
                client, _ = self.listening.accept()
                self.connections += 1
                Connection(self, client).start()


class Connection:
    """One client's way to the broker and back."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.broker = socket.create_connection(("127.0.0.1", proxy.broker_port))
        self.subscribes = threading.Event()

    def start(self):
        threading.Thread(target=self.pump, args=(self.asked,), daemon=True).start()
        threading.Thread(target=self.pump, args=(self.answered,), daemon=True).start()

    def pump(self, way):
        with contextlib.suppress(OSError), self.client, self.broker:
            way()

    def asked(self):
        for kind, frame in frames(self.client):
            if kind == SUBSCRIBE:
                self.subscribes.set()
            self.broker.sendall(frame)

    def answered(self):
        ours, theirs = (f"127.0.0.1:{port}".encode() for port in self.ports())
        held = 0  # answers that are to come late
        for kind, frame in frames(self.broker):
            if kind == CLOSE_CONSUMER:
                self.subscribes.clear()
                held = 2
            elif kind == SUCCESS and held == 2:
                held = 1
                threading.Thread(target=self.answer_late, args=(frame,), daemon=True).start()
                continue
            elif kind == SUCCESS and held == 1:
                held = 0
                time.sleep(MOMENT_S)
            self.client.sendall(frame.replace(theirs, ours))  # a lookup names the broker

    def answer_late(self, frame):
        if self.subscribes.wait(LONGEST_S):
            self.client.sendall(frame)

    def ports(self):
        return self.proxy.port, self.proxy.broker_port


def listening(digits):
    """Return a socket on a port of so many digits: frames with another keep their size."""
    while True:
        place = socket.create_server(("127.0.0.1", 0))
        if len(str(place.getsockname()[1])) == digits:
            return place
        place.close()


def frames(place):
    """Give each frame that comes, with the type of its command."""
    with place.makefile("rb") as file:
        while len(head := file.read(4)) == 4:
            frame = file.read(struct.unpack(">I", head)[0])
            assert frame[4] == 0x08  # field 1, a varint
            yield frame[5], head + frame

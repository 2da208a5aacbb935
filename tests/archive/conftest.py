"""Objects that a real Pulsar offloaded, and the rows that a real client read."""

import json
import os
import struct
from pathlib import Path

import google_crc32c
import pytest

HERE = Path(__file__).parent


def _shared():
    if os.environ.get("WORKBENCH_SHARED"):
        return Path(os.environ["WORKBENCH_SHARED"])
    for folder in HERE.parents:
        if (folder / "shared" / "golden").is_dir():
            return folder / "shared"
    return None


class Golden:
    """One case: its bucket, the rows expected, the schemas that the broker kept."""

    def __init__(self, folder):
        self.folder = folder
        self.bucket = str(folder / "bucket")

    def expected(self):
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "expected.parquet")

    def schemas(self):
        files = sorted((self.folder / "broker").glob("schemas_all_versions*.json"))
        found = {}
        for topic in set(self.expected()["topic"].to_pylist()) if files else ():
            stored = json.loads(files[0].read_text())["getSchemaResponses"]
            if stored:
                found[topic] = stored
        return found


@pytest.fixture
def golden():
    """Return the case of a name, from these tests or from ../shared/golden, or skip."""

    def find(name):
        shared = _shared()
        for root in (HERE / "golden", shared / "golden" if shared else HERE):
            if (root / name / "bucket").is_dir():
                return Golden(root / name)
        pytest.skip(f"{name} is not in tests/archive/golden, and there is no ../shared/golden")

    return find


class Writer:
    """Builds any ledger, whole or broken, as the offloader of Pulsar 4.0.8 writes it."""

    UUID = "00000000-0000-4000-8000-000000000000"

    def varint(self, value):
        value &= (1 << 64) - 1
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    def protobuf(self, *fields):
        """Return (number, value) fields; a value is an int, bytes, or fields of its own."""
        out = b""
        for number, value in fields:
            if isinstance(value, int):
                out += self.varint(number << 3) + self.varint(value)
            else:
                raw = value if isinstance(value, bytes) else self.protobuf(*value)
                out += self.varint(number << 3 | 2) + self.varint(len(raw)) + raw
        return out

    def single(self, payload, *fields):
        """Return one message of a batch."""
        head = self.protobuf((3, len(payload)), *fields)
        return struct.pack(">I", len(head)) + head + payload

    def entry(self, payload, *fields, checksum=True, publish_ms=1_700_000_000_000):
        """Return an entry; `fields` are added to producer, sequence id and publish time."""
        head = self.protobuf((1, b"producer"), (2, 7), (3, publish_ms), *fields)
        body = struct.pack(">I", len(head)) + head + payload
        if not checksum:
            return body
        return b"\x0e\x01" + struct.pack(">I", google_crc32c.value(body)) + body

    def metadata(self, last_entry, entry_bytes, topic="public/default/persistent/t"):
        custom = [(11, [(1, b"pulsar/managed-ledger"), (2, topic.encode())])]
        return self.protobuf(
            (1, 1),
            (2, 1),
            (3, entry_bytes),
            (4, last_entry),
            (5, 3),
            (10, 1_699_999_999_000),
            *custom,
        )

    def blocks(self, entries, block_bytes=None):
        """Return (bytes, first entry) of each block; all but the last are `block_bytes` long."""
        rows = [struct.pack(">iq", len(raw), i) + raw for i, raw in enumerate(entries)]
        blocks, at = [], 0
        while at < len(rows) or not blocks:
            body, first = b"", at
            while at < len(rows) and (
                block_bytes is None or 128 + len(body) + len(rows[at]) <= block_bytes
            ):
                body += rows[at]
                at += 1
            size = 128 + len(body) if at == len(rows) else block_bytes
            head = struct.pack(">Iqqq", 0xFBDBABCB, 128, size, first).ljust(128, b"\0")
            padding = (b"\xfe\xdc\xde\xad" * (size // 4 + 1))[: size - 128 - len(body)]
            blocks.append((head + body + padding, first))
        return blocks

    def index(self, blocks, metadata, data_bytes=None):
        total = sum(len(raw) for raw, _ in blocks) if data_bytes is None else data_bytes
        size = 32 + len(metadata) + 20 * len(blocks)
        out = struct.pack(">Iiqqii", 0xDE47DE47, size, total, 128, len(blocks), len(metadata))
        out += metadata
        offset = 0
        for part, (raw, first) in enumerate(blocks, 1):
            out += struct.pack(">qiq", first, part, offset)
            offset += len(raw)
        return out

    def ledger(self, folder, entries, *, number=1, block_bytes=None, uuid=UUID, **metadata):
        """Write a ledger's two objects into `folder`; return the key of the data object."""
        blocks = self.blocks(entries, block_bytes)
        known = self.metadata(len(entries) - 1, sum(map(len, entries)), **metadata)
        key = f"{uuid}-ledger-{number}"
        (folder / key).write_bytes(b"".join(raw for raw, _ in blocks))
        (folder / f"{key}-index").write_bytes(self.index(blocks, known))
        return key


@pytest.fixture
def pulsar():
    return Writer()

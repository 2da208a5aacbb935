"""Ledgers that need no broker: Protobuf, encrypted end to end, and as many as are wanted.

The tests' writer makes them, as the offloader does: LZ4, 1,000 messages in a batch, 64 batches in a
block, one ledger. The data key of what is encrypted is wrapped by RSA.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import lz4.block

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import Writer

BATCH = 1000
BLOCK_BYTES = 8 << 20
KEY = "reader"


def write_protobuf(folder: Path, payloads: Iterator[tuple[str, int, bytes]]) -> None:
    """Write a bucket of `PROTOBUF_NATIVE` readings, from JSON ones, with its schema."""
    kind, schema = _message()
    made = (
        (sensor, ms, kind(**json.loads(raw)).SerializeToString()) for sensor, ms, raw in payloads
    )
    _write(folder, made, schema)


def write_encrypted(folder: Path, payloads: Iterator[tuple[str, int, bytes]]) -> None:
    """Write a bucket of encrypted JSON readings, and the private key beside it in `keys`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA1

    private, data_key = rsa.generate_private_key(65537, 2048), os.urandom(32)
    oaep = padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)  # noqa: S303 - as Pulsar has it
    wrapped = private.public_key().encrypt(data_key, oaep)
    (folder / "keys").mkdir()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "keys" / f"{KEY}.pem").write_bytes(pem)

    def encrypt(packed: bytes) -> tuple[bytes, tuple[tuple[int, object], ...]]:
        vector = os.urandom(12)
        fields = ((13, [(1, KEY.encode()), (2, wrapped)]), (15, vector))
        return AESGCM(data_key).encrypt(vector, packed, None), fields

    _write(folder, payloads, None, encrypt)


def write_json(folder: Path, payloads: Iterator[tuple[str, int, bytes]], ledgers: int) -> None:
    """Write a bucket of so many ledgers of the same JSON readings: one file under many names."""
    _write(folder, payloads, None)
    for path in sorted(folder.glob("*-ledger-1*")):
        name, _, kind = path.name.partition("-ledger-1")
        for number in range(2, ledgers + 1):
            (folder / f"{name}-ledger-{number}{kind}").hardlink_to(path)


def _write(folder, payloads, schema, encrypt=lambda packed: (packed, ())) -> None:
    writer, entries, singles = Writer(), [], []

    def end_batch() -> None:
        raw = b"".join(singles)
        packed, fields = encrypt(lz4.block.compress(raw, store_size=False))
        head = ((8, 1), (9, len(raw)), (11, len(singles)))
        entries.append(writer.entry(packed, *head, *fields))
        singles.clear()

    for sensor, event_ms, raw in payloads:
        singles.append(writer.single(raw, (2, sensor.encode()), (5, event_ms)))
        if len(singles) == BATCH:
            end_batch()
    if singles:
        end_batch()
    writer.ledger(folder, entries, block_bytes=BLOCK_BYTES)
    kept = {"persistent://public/default/t": [schema]} if schema else {}
    (folder / "schemas.json").write_text(json.dumps(kept))


def _message():
    """Return the class of a reading, and its schema as the broker keeps it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="reading.proto", package="plant", syntax="proto3"
    )
    message = file.message_type.add(name="Reading")
    kinds = {"sensor": "TYPE_STRING", "ts": "TYPE_INT64", "value": "TYPE_DOUBLE"}
    for number, (name, kind) in enumerate(kinds.items(), 1):
        message.field.add(name=name, number=number, type=kind, label="LABEL_OPTIONAL")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptors = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    schema = {
        "fileDescriptorSet": base64.b64encode(descriptors).decode(),
        "rootMessageTypeName": "plant.Reading",
        "rootFileDescriptorName": "reading.proto",
    }
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("plant.Reading"))
    return kind, {"version": 0, "type": "PROTOBUF_NATIVE", "schema": json.dumps(schema)}

"""Messages that the Java client encrypted are read with the private keys, and only then."""

import base64
import json
from pathlib import Path

import pytest

from workbench import archive
from workbench.errors import ArchiveError

ENCRYPTED = json.loads((Path(__file__).parents[1] / "oracle" / "encrypted.json").read_text())
NAMES = [row["key"] for row in ENCRYPTED]


def entry(pulsar, row, *, payload=None):
    """Return an entry with the metadata and the payload that the Java client made."""
    metadata = base64.b64decode(row["metadata"])
    body = len(metadata).to_bytes(4, "big") + metadata
    return body + (base64.b64decode(row["payload"]) if payload is None else payload)


@pytest.fixture
def bucket(pulsar, tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    pulsar.ledger(folder, [entry(pulsar, row) for row in ENCRYPTED])
    return str(folder)


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    for row in ENCRYPTED:
        (folder / f"{row['key']}.pem").write_text(row["private"])
    return folder


def test_messages_are_decrypted_with_the_keys_in_a_folder(bucket, keys):
    topic = archive.open(bucket, keys=keys)["t"]

    assert topic.messages()["value"].to_pylist() == [
        f"a reading encrypted for {name}".encode() for name in NAMES
    ]
    private = "".join(row["private"] for row in ENCRYPTED).split("\n")[1]
    assert private not in json.dumps(topic.manifest()) + repr(topic.access)


def test_a_call_may_find_the_keys_by_name_and_metadata(bucket):
    asked = []

    def find(name, metadata):
        asked.append((name, metadata))
        return next(row["private"].encode() for row in ENCRYPTED if row["key"] == name)

    topic = archive.open(bucket, keys=find, workers=1)["t"]

    assert topic.messages().num_rows == len(NAMES)
    assert asked == [(name, {"site": "north"}) for name in NAMES]  # once for each data key


def test_without_its_key_a_message_is_refused_by_the_name_of_the_key(bucket, keys):
    (keys / "p256.pem").unlink()

    with pytest.raises(ArchiveError) as caught:
        archive.open(bucket, keys=keys)["t"].messages()
    assert caught.value.message == (
        "entry 1 of ledger 1: it is encrypted with key 'p256': no such private key is at hand"
    )

    topic = archive.open(bucket, keys=keys, skip_damaged=True)["t"]
    assert topic.messages().num_rows == len(NAMES) - 1
    assert len(topic.damage.errors) == 1


@pytest.mark.parametrize("name", NAMES)
def test_another_private_key_does_not_fit(bucket, keys, name):
    other = "p256" if name == "rsa" else "rsa"
    (keys / f"{name}.pem").write_bytes((keys / f"{other}.pem").read_bytes())

    topic = archive.open(bucket, keys=keys, skip_damaged=True)["t"]

    assert topic.messages().num_rows == len(NAMES) - 1
    (error,) = topic.damage.errors
    assert error.message.endswith(f"the private key at hand does not fit key {name!r}: ValueError")


def test_a_damaged_payload_does_not_decrypt(pulsar, tmp_path, keys):
    row = ENCRYPTED[0]
    payload = bytearray(base64.b64decode(row["payload"]))
    payload[3] ^= 1
    (tmp_path / "b").mkdir()
    pulsar.ledger(tmp_path / "b", [entry(pulsar, row, payload=bytes(payload))])

    with pytest.raises(ArchiveError, match="does not decrypt with key 'rsa': payload or vector"):
        archive.open(str(tmp_path / "b"), keys=keys)["t"].messages()


def test_a_name_of_a_key_does_not_leave_the_folder(pulsar, tmp_path, keys):
    row = ENCRYPTED[0]
    metadata = base64.b64decode(row["metadata"]).replace(b"\x0a\x03rsa", b"\x0a\x03../")
    (tmp_path / "b").mkdir()
    pulsar.ledger(
        tmp_path / "b",
        [len(metadata).to_bytes(4, "big") + metadata + base64.b64decode(row["payload"])],
    )

    with pytest.raises(ArchiveError, match=r"key '\.\./': no such private key is at hand"):
        archive.open(str(tmp_path / "b"), keys=keys)["t"].messages()


def test_keys_are_a_folder_that_is_there(bucket, tmp_path):
    with pytest.raises(ArchiveError) as caught:
        archive.open(bucket, keys=tmp_path / "nowhere")
    assert str(caught.value) == f"no folder of private keys at {tmp_path}/nowhere"

"""Decrypt payloads that a producer encrypted end to end, with the private keys of the reader.

A payload (of a message, a batch or a chunk, after compression) is encrypted with AES-GCM by a data
key of the producer; `MessageMetadata` holds the data key once for each public key, wrapped by it:

    13  encryption_keys   1 name of the key, 2 wrapped data key, 3 metadata of the key (pairs)
    15  encryption_param  the initialisation vector, 12 bytes; the tag of 16 bytes ends the payload

RSA wraps with OAEP (SHA-1, MGF1 with SHA-1). Elliptic curves wrap with what Bouncy Castle calls
ECIES: an ephemeral public key V, the data key XORed with a key stream, HMAC-SHA1 of it; both keys
by KDF2 with SHA-1 over V and the shared secret: 16 bytes for the HMAC, then the stream.

A private key is asked for when it is needed, never stored, never part of an error.

Source: apache/pulsar 4.0.8, MessageCryptoBc; Bouncy Castle 1.78, IESEngine, IESCipher.ECIES,
KDF2BytesGenerator; ISO 18033-2.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from workbench.archive.format.index import protobuf_fields
from workbench.errors import ArchiveError

# name and metadata of a key to its private half, PEM without a password; None where there is none
FindKey = Callable[[str, dict[str, str]], bytes | None]
_PEM = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_OAEP = padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)  # noqa: S303 - as Pulsar has it
_MAC_BYTES, _MAC_KEY_BYTES = 20, 16


class WrappedKey:
    """A data key as the metadata of a message holds it."""

    def __init__(self, raw: bytes) -> None:
        pairs = [*protobuf_fields(raw, "")]
        parts = {number: value for number, value in pairs if isinstance(value, bytes)}
        self.name = parts.get(1, b"").decode(errors="replace")
        self.value = parts.get(2, b"")
        texts = (dict(protobuf_fields(v, "")) for n, v in pairs if n == 3 and isinstance(v, bytes))
        self.metadata = {_text(pair.get(1)): _text(pair.get(2)) for pair in texts}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def wrapped_keys(metadata: bytes) -> list[WrappedKey]:
    """Return the wrapped data keys in a message's `MessageMetadata`."""
    fields = protobuf_fields(metadata, "")
    return [WrappedKey(raw) for number, raw in fields if number == 13 and isinstance(raw, bytes)]


class Decryption:
    """Decrypts payloads; keeps the data keys that it has unwrapped.

    Parameters
    ----------
    keys
        A folder of private keys, `NAME.pem` for the key NAME; or what finds them.
    """

    def __init__(self, keys: str | Path | FindKey) -> None:
        self._find = keys if callable(keys) else _in_folder(Path(keys))
        self._data_keys: dict[bytes, AESGCM] = {}

    def decrypt(self, metadata: bytes, payload: bytes) -> bytes:
        """Return the payload in clear.

        Raises
        ------
        ArchiveError
            If none of the keys that the message names is at hand, or what it says is not so.
        """
        wrapped = wrapped_keys(metadata)
        names = ", ".join(repr(key.name) for key in wrapped)
        data_key = next(filter(None, map(self._data_key, wrapped)), None)
        if data_key is None:
            raise ArchiveError(f"it is encrypted with key {names}: no such private key is at hand")
        vector = dict(protobuf_fields(metadata, "")).get(15)
        try:
            return data_key.decrypt(vector if isinstance(vector, bytes) else b"", payload, None)
        except (InvalidTag, ValueError) as err:
            raise ArchiveError(
                f"it does not decrypt with key {names}: payload or vector are damaged"
            ) from err

    def _data_key(self, wrapped: WrappedKey) -> AESGCM | None:
        if wrapped.value not in self._data_keys:
            pem = self._find(wrapped.name, wrapped.metadata)
            if pem is None:
                return None
            self._data_keys[wrapped.value] = AESGCM(_unwrap(wrapped, pem))
        return self._data_keys[wrapped.value]


def _in_folder(folder: Path) -> FindKey:
    if not folder.is_dir():
        raise ArchiveError(f"no folder of private keys at {folder}")

    def find(name: str, metadata: dict[str, str]) -> bytes | None:
        path = folder / f"{name}.pem"
        is_inside = path.parent == folder and path.is_file()  # the name is the producer's
        return path.read_bytes() if is_inside else None

    return find


def _unwrap(wrapped: WrappedKey, pem: bytes) -> bytes:
    """Return the data key, or raise ArchiveError without a word of the private key."""
    block = _PEM.search(pem)  # openssl writes the curve's parameters before it
    try:
        key = load_pem_private_key(block[0] if block else pem, None)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.decrypt(wrapped.value, _OAEP)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return _unwrap_ecies(key, wrapped.value)
    except (ValueError, TypeError) as err:
        raise ArchiveError(
            f"the private key at hand does not fit key {wrapped.name!r}: {type(err).__name__}"
        ) from None
    raise ArchiveError(f"key {wrapped.name!r} is neither RSA nor of an elliptic curve")


def _unwrap_ecies(key: ec.EllipticCurvePrivateKey, wrapped: bytes) -> bytes:
    point_bytes = (key.curve.key_size + 7) // 8
    point_bytes = 1 + (2 * point_bytes if wrapped[:1] == b"\x04" else point_bytes)
    point, code = wrapped[:point_bytes], wrapped[point_bytes:-_MAC_BYTES]
    public = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point)
    stream = _kdf2(point + key.exchange(ec.ECDH(), public), _MAC_KEY_BYTES + len(code))
    mac_key, stream = stream[:_MAC_KEY_BYTES], stream[_MAC_KEY_BYTES:]
    tag = hmac.digest(mac_key, code + bytes(8), "sha1")  # 8: the length of no encoding vector
    if not hmac.compare_digest(tag, wrapped[-_MAC_BYTES:]):
        raise ValueError("another key")
    return bytes(a ^ b for a, b in zip(code, stream, strict=True))


def _kdf2(secret: bytes, size: int) -> bytes:
    parts = (sha1(secret + i.to_bytes(4, "big")).digest() for i in range(1, size // 20 + 2))  # noqa: S324
    return b"".join(parts)[:size]

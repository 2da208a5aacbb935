"""Who may ask: passwords by SCRAM-SHA-256, which neither the wire nor this server's memory shows.

Source: RFC 5802, RFC 7677; PostgreSQL 15, SASL Authentication. The exchange itself is scramp's.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from scramp import ScramException, ScramMechanism

from workbench.serve.errors import QueryError

MECHANISM = "SCRAM-SHA-256"
Secret = tuple[bytes, bytes, bytes, int]  # salt, stored key, server key, iterations


@dataclass(frozen=True)
class Users:
    """Users and what their passwords leave behind; empty: whoever reaches the server may ask."""

    secrets: dict[str, Secret] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, passwords: dict[str, str]) -> Users:
        """Return the users with these passwords."""
        mechanism = ScramMechanism(MECHANISM)
        return cls({name: mechanism.make_auth_info(text) for name, text in passwords.items()})

    def secret(self, user: str) -> Secret:
        """Return a user's secret, or one of nobody, so that a stranger learns no names."""
        nobody = hmac.new(_KEY, user.encode(), hashlib.sha256).digest()
        return self.secrets.get(user) or (nobody[:16], nobody, nobody, 4096)


_KEY = secrets.token_bytes(32)


def authenticate(
    users: Users, user: str, send: Callable[[int, bytes], None], receive: Callable[[], bytes]
) -> None:
    """Hold the exchange with a client.

    Parameters
    ----------
    send
        An authentication message: its code and what follows.
    receive
        Gives the content of the client's next password message.

    Raises
    ------
    QueryError
        If the password is wrong, or nobody has that name.
    """
    send(10, MECHANISM.encode() + b"\0\0")
    message = receive()
    name, _, rest = message.partition(b"\0")
    if name != MECHANISM.encode() or len(rest) < 4:
        raise QueryError(f"passwords are asked for by {MECHANISM}", code="28000")
    server = ScramMechanism(MECHANISM).make_server(lambda _: users.secret(user))
    try:
        server.set_client_first(rest[4 : 4 + struct.unpack("!i", rest[:4])[0]].decode())
        send(11, server.get_server_first().encode())
        server.set_client_final(receive().decode())
    except (ScramException, UnicodeDecodeError, struct.error) as err:
        raise QueryError(f"password of user {user!r} is wrong", code="28P01") from err
    send(12, server.get_server_final().encode())

"""What a failed read says: that one object is not as it should be, or nothing of any object.

A store that does not answer has damaged nothing: who goes on after damage must not go on after
that, or what is read would be shorter each time the network is slow.
"""

from __future__ import annotations

import errno
from typing import Any

from fsspec.asyn import AsyncFileSystem

from workbench.errors import ArchiveError, StorageError

# of a folder on another machine: that machine is away. EIO is a disk's own
_AWAY = {
    *(errno.ETIMEDOUT, errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH),
    *(errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EREMOTEIO),
}
_OF_OBJECT = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL}
# S3's words for a login that no longer holds; s3fs has one error for these and a refused object
_LOGINS = {
    *("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
}


def failure(err: Exception, doing: str, where: str | None, fs: Any) -> ArchiveError:
    """Return the error to raise where reading failed.

    Parameters
    ----------
    err
        What the file system raised.
    doing
        What failed, as `cannot read`.
    where
        Key and byte, None where it is no object.
    fs
        The file system: of a network, or of this machine, whose errors are mostly a file's own.
    """
    text = f"{doing}: {said(err)}"
    if _is_of_object(err, is_network=isinstance(fs, AsyncFileSystem)):
        return ArchiveError(text, where=where)
    hint = "that is no damage of the object, and is not skipped as such" if where else None
    return StorageError(text, where=where, hint=hint)


def said(err: Exception) -> str:
    """Return what an error says, its type where it says nothing."""
    return str(err) or type(err).__name__


def _is_of_object(err: Exception, *, is_network: bool) -> bool:
    if not is_network:
        return not (isinstance(err, OSError) and err.errno in _AWAY)
    answer: Any = getattr(err.__cause__, "response", None) or {}
    if answer.get("Error", {}).get("Code") in _LOGINS:
        return False
    if isinstance(err, PermissionError | FileNotFoundError):  # of s3fs, with no number
        return True
    return isinstance(err, OSError) and err.errno in _OF_OBJECT

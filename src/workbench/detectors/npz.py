"""A dict of arrays as the bytes of an .npz file, and back without trust.

Members are stored, not compressed, so a file holds what it claims; a member's header is checked
against the layout in detector.json before memory is taken for it. Only three dtypes exist here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy

from workbench.detectors.contract import State
from workbench.errors import PackageError

_DTYPES = ("<f8", "<i8", "<i4")
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_MOST = 512  # arrays
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(arrays: State) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes, the same for the same arrays, and the layout: dtype and shape by name."""
    buffer = io.BytesIO()
    layout: dict[str, Any] = {}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            if array.dtype.str not in _DTYPES or not _NAME.fullmatch(name):
                raise PackageError(f"array {name!r} has dtype {array.dtype}, which is not stored")
            content = _header(array.dtype, array.shape) + array.tobytes()
            file.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), content)
            layout[name] = {"dtype": array.dtype.str, "shape": list(array.shape)}
    return buffer.getvalue(), layout


def unpack(content: bytes, layout: object) -> State:
    """Return the arrays, refused unless they are exactly those of the layout.

    Raises
    ------
    PackageError
        On anything that `pack` would not have written.
    """
    if not isinstance(layout, Mapping) or len(layout) > _MOST:
        raise PackageError(f"the layout of the arrays is no object of at most {_MOST}")
    for name, entry in layout.items():
        _check_layout(name, entry)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = file.infolist()
            if [member.filename for member in members] != [
                f"{name}.npy" for name in sorted(layout)
            ]:
                raise PackageError("arrays.npz does not hold the arrays of the layout")
            return {
                member.filename[:-4]: _member(file, member, layout[member.filename[:-4]])
                for member in members
            }
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as err:
        raise PackageError(f"arrays.npz cannot be read: {err}") from err


def _check_layout(name: str, entry: object) -> None:
    if (
        not _NAME.fullmatch(name)
        or not isinstance(entry, Mapping)
        or entry.keys() != {"dtype", "shape"}
    ):
        raise PackageError(f"array {name!r} is not described by a dtype and a shape")
    dtype, shape = entry["dtype"], entry["shape"]
    if dtype not in _DTYPES:
        raise PackageError(f"array {name} has dtype {dtype!r}, known: {', '.join(_DTYPES)}")
    fine = isinstance(shape, list) and len(shape) <= 4
    if not fine or not all(type(length) is int and 0 <= length < 2**40 for length in shape):
        raise PackageError(f"array {name} has shape {shape!r}, expected up to four lengths")


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo, layout: Mapping[str, Any]) -> Any:
    dtype, shape = np.dtype(layout["dtype"]), tuple(layout["shape"])
    claimed = dtype.itemsize
    for length in shape:
        claimed *= length
    expected = _header(dtype, shape)
    size = len(expected) + claimed
    if info.compress_type != zipfile.ZIP_STORED or {info.file_size, info.compress_size} != {size}:
        raise PackageError(
            f"array {info.filename[:-4]} takes {info.file_size} bytes, its layout says {size}"
        )
    content = file.read(info)
    if content[: len(expected)] != expected:
        raise PackageError(f"array {info.filename[:-4]} has another header than its layout")
    return np.frombuffer(content, dtype, offset=len(expected)).reshape(shape)


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    about = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(buffer, about)  # type: ignore[no-untyped-call]
    return buffer.getvalue()

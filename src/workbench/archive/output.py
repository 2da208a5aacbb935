"""Write record batches as CSV, JSON lines, text or Parquet, one batch in memory at a time."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq


def write_parquet(batches: Iterable[pa.RecordBatch], path: str | Path) -> int:
    """Write a Parquet file, whole or not at all; return its number of rows."""
    partial = Path(f"{path}.{os.getpid()}.partial")
    rows, writer = 0, None
    try:
        for batch in batches:
            if writer is None:
                writer = pq.ParquetWriter(partial, batch.schema, compression="zstd")
            if batch.num_rows:
                writer.write_batch(batch)
                rows += batch.num_rows
        if writer is not None:
            writer.close()
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def lines(batches: Iterable[pa.RecordBatch], form: str) -> Iterator[str]:
    """Yield the rows as text, `csv` (with a header) or `json` (an object a line)."""
    header = True
    for batch in batches:
        if form == "json":
            yield from (json.dumps(row, default=plain) + "\n" for row in batch.to_pylist())
        else:
            yield _csv(batch, header=header)
            header = False


def _csv(batch: pa.RecordBatch, *, header: bool) -> str:
    columns = [_text(one) if _is_wide(one.type) else one for one in batch.columns]
    out = io.BytesIO()
    options = pc.WriteOptions(include_header=header)
    pc.write_csv(pa.table(columns, names=batch.schema.names), out, options)
    return out.getvalue().decode()


def _is_wide(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind))


def _text(column: pa.Array) -> pa.Array:
    values = [None if one is None else json.dumps(one, default=plain) for one in column.to_pylist()]
    return pa.array(values, pa.string())


def text(batches: Iterable[pa.RecordBatch], *, most: int = 1000) -> str:
    """Return the rows as a table to look at, the first `most` of them."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows > most:
            break
    frame = pa.Table.from_batches(held).slice(0, most).to_pandas()
    if not len(frame):
        return " ".join(frame.columns) + "\n(no rows)"
    shown: str = frame.to_string(index=False, na_rep="")
    return shown + (f"\n(the first {most} rows)" if rows > most else "")


def plain(value: Any) -> Any:
    """Return a value that JSON has no form for as text: times in ISO 8601, bytes as base64."""
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)

"""`%%pulsar_sql`: a cell of SQL over offloaded topics, its result as a frame.

    %load_ext workbench

    %%pulsar_sql s3://bucket
    select sensor, max(value) from readings group by 1

Without a URL it is the archive that `workbench.replay` reads; `%%pulsar_sql kafka://` reads topics
of Kafka. A cell of `?` shows the topics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def register(ipython: Any) -> None:
    """Add the magic to a running IPython."""
    ipython.register_magic_function(pulsar_sql, "line_cell", "pulsar_sql")


def pulsar_sql(line: str, cell: str | None = None) -> pd.DataFrame:
    """Return the result of the cell's SQL; `line` is the archive's URL, or the SQL itself."""
    from workbench.errors import WorkbenchError

    try:
        return _result(line, cell)
    except WorkbenchError as err:
        lines = f"{type(err).__name__}: {err}".splitlines()
        # IPython shows this in place of a traceback, which would be of our code alone
        err.__dict__["_render_traceback_"] = lambda: lines
        raise


def _result(line: str, cell: str | None) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    from workbench import kafka
    from workbench.archive import table, to_frame
    from workbench.history import open_archive, query_kafka

    url, text = (line.strip(), cell.strip()) if cell is not None else ("", line.strip())
    if url == kafka.SCHEME and text in ("", "?"):
        return pd.DataFrame({"topic": kafka.topics()})
    if url == kafka.SCHEME:
        result: pd.DataFrame = to_frame(pa.Table.from_batches(list(query_kafka(text))))
        return result
    archive = open_archive(url or None)
    if text in ("", "?"):
        return archive.topics()
    frame: pd.DataFrame = to_frame(table(archive, text))
    return frame

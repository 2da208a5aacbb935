"""`%%pulsar_sql`: a cell of SQL over offloaded topics, its result as a frame.

    %load_ext workbench

    %%pulsar_sql s3://bucket
    select sensor, max(value) from readings group by 1

Without a URL it is the archive that `workbench.replay` reads. A cell of `?` shows the topics.
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
    from workbench.archive.sql import table
    from workbench.history import open_archive

    url, text = (line.strip(), cell.strip()) if cell is not None else ("", line.strip())
    archive = open_archive(url or None)
    if text in ("", "?"):
        return archive.topics()
    frame: pd.DataFrame = table(archive, text).to_pandas()
    return frame

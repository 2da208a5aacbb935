"""SQL over the topics of an archive, by DuckDB."""

"""What leaves an archive: as text, as files, as Parquet by day."""

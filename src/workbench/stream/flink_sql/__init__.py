"""The job as Flink SQL: its tables and views, and the functions they call, in Python and Java."""

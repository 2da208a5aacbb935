"""The Numenta Anomaly Benchmark: its files, its rule of scoring, and a pass over all of it."""

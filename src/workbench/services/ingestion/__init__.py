"""Readings from CSV files and frames to a topic: looked at whole first, in order of time."""

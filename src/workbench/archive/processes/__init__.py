"""Processes that turn entries into columns beside the one that reads: Python has one lock each."""

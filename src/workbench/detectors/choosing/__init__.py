"""The detector that `auto` chooses: which channels, which windows, which methods, and why."""

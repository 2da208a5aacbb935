"""Runs and sweeps as HTML files that ask nobody for anything."""

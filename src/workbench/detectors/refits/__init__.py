"""Detector and threshold from a trailing span, once and by a schedule."""

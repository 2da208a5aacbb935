"""A span of a stream out of its archive, piece by piece: what no frame holds."""

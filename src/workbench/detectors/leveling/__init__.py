"""Each sensor by its name, and against its own level."""

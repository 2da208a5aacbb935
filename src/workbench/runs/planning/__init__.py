"""What a run is of: the parameters of a notebook, and the files that give them values."""

"""How a planned run is executed: kernels, worker processes, shared spans, progress."""

"""What may stand at the ends of a job: a module for each kind, which makes sources and sinks."""

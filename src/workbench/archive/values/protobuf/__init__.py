"""Protocol Buffers by the descriptors that a schema brings, counted before anything is made."""

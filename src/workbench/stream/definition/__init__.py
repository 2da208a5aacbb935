"""What a stream is: the stream file, its patterns, and what it asks of a detector."""

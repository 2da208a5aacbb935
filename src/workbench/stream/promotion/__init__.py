"""What may score a stream, and the proof of it: checks, parity, gate, verdicts, refits."""

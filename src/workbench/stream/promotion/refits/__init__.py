"""A promoted detector over time: what it scored, whether it drifted, and what follows it."""

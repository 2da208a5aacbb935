"""A stream of few readings without Flink, as a Pulsar Function."""

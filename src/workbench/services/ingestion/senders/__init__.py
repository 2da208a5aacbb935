"""Readings, ordered and named, to the queue: by Pulsar's Python or Java client, or by Kafka's."""

"""Avro values of any version as columns of the newest: schemas, plans, flat and other records."""

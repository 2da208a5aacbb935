"""Payloads to columns: the schemas of values, and decoders of JSON, Avro, primitives, KeyValue.

`decoding` opens what decodes a topic's schemas; `versions` where they are of several types.
`json_values` and `avro.records` give records to compiled code (`flat_json`, `avro.flat`, which fill
a `grid`) under the contract of `archive.format`; what these do not take goes to a library, value
by value, and `json_objects` and `avro.objects` make of it what compiled code would have made.
`avro.schema` resolves names, `avro.types` says which Arrow type is meant, `avro.plans` what a flat
record of one version is to another. `primitives` reads numbers, times and KeyValues, `rows` says
where values lie, `schemas` where schemas are kept.

What does not fit its schema is told to a `Misfit` and becomes nulls: never another value, and
never an error of a library.
"""

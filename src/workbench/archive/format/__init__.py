"""Bytes to payloads: objects, blocks, entries, batches, codecs. Nothing here looks inside a value.

In the order of the bytes: `index` reads the object that names a ledger's blocks, `blocks` cuts a
block into entries, `entries` reads the head of each, `codecs` and `small_lz4` decompress payloads,
`payloads` splits them into messages; `columns` makes Arrow columns of positions. `mapfile` is the
other layout, of the `filesystem` offloader. `wire` reads protobuf, `bits` moves machine words.
`blocks`, `index`, `entries` and `payloads` do no I/O: bytes go in, positions come out.

The contract of every compiled function (`@compiled`) here and in `archive.values`:

- It takes byte arrays (`uint8[n]`) and positions in them, and fills arrays that its caller made. It
  allocates nothing per entry and creates no Python object; it runs without the interpreter lock, on
  several threads at once, each with arrays of its own.
- It reads and writes inside of what it was given. A length from the bytes is compared with what
  is left before it is followed; so it is `size > end - position`, never `position + size > end`,
  which may wrap around. Those that move eight bytes at a time (`bits.load`, `bits.store`) and
  pointers check nothing: their callers have.
- It does not raise, and numba does not check bounds. A code (FINE, CUT, GAP, ...), a position below
  zero or a mark in `later` says what is wrong and where. The Python function around it makes an
  `ArchiveError` of that, which names object and byte or topic and message, or gives the row to a
  library.
- It keeps the order of the bytes: entry k is row k, and a size of -1 is null.

Private compiled functions pass `pointer`s instead of arrays, and tables as one run of cells: numba
counts references of arrays at each call. Numbers are int64 unless a bit pattern is meant (uint64).
"""

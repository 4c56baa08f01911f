"""What is due of what was read: the shape of a record, what was emitted, tombstones.

Plain dicts. Knows no HTTP, and of a protocol only that the state is kept as a Singer bookmark is.

Others use: due, emitted, packed, records.
"""

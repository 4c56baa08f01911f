"""What is due of what was read: the shape of a record, what was emitted, tombstones.

Plain dicts; knows no HTTP and no protocol.
"""

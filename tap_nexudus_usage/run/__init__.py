"""One run: reading and emission put together, for whatever protocol writes what comes of it.

Knows settings, reading, emission and the API; no protocol, and nothing of how records are written.

Others use: checkpoints, connection_test, entity_run, run, surroundings.
"""

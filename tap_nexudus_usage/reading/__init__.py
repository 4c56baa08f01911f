"""How records are found: by Id, by search, fetched ahead; and what proves that one is gone.

Knows the API's calls; nothing of what was emitted before, of settings or of a protocol.

Others use: asking, by_id, by_search, clock_probe, fetch_ahead, get_many_probe, minutes, proof,
tenant_clock.
"""

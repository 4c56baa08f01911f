"""A double of the Nexudus API, as far as its documentation describes it, to run the tap against.

Knows the entities and how one-time codes are made; nothing of how the tap reads.

A module a concern: `records` (a table of them, and the ledger), `allowances`, `pair` (both, fitting
each other), `literals` (JSON), `search`, `tokens`, `throttle`, `faults`, `tenant` (how it reads
what the documents leave open); `world` holds them together, `api` and `control` serve them over
HTTP, `server` runs that in a thread, `cli` as a process.
"""

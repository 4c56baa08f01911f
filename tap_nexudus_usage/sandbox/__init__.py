"""A double of the Nexudus API, as far as its documentation describes it, to run the tap against.

A module a concern: `records` (the ledger), `search`, `tokens`, `throttle`, `faults`, `tenant` (how
it reads what the documents leave open); `world` holds them together, `api` and `control` serve them
over HTTP, `server` runs that in a thread, `cli` as a process.
"""

"""A double of the Nexudus API, as far as its documentation describes it, to run the tap against.

A module a concern: `records` (the ledger), `tokens`, `throttle`, `faults`; `world` holds them
together, `app` serves them over HTTP, `server` runs that in a thread, `cli` as a process.
"""

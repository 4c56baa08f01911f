"""The Singer protocol, on the SDK; and what is done otherwise than the SDK does, and why.

Knows a run, settings and entities; nothing of how records are found, or the API is called.

Others use: tap, writer.
"""

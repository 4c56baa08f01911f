"""The Nexudus API over HTTP: its entities, calls, tokens, pace, answers.

Knows nothing of what is read for or of a protocol, and of settings only what they are called.

Others use: auth, client, connection, decoding, entities, pages, totp, transport.
"""

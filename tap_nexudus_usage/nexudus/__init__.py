"""The Nexudus API over HTTP: its calls, tokens, pace, answers.

Knows nothing of what is read for, of settings or of a protocol.
"""

"""How records are found: by Id, by search, fetched ahead.

Knows the API's calls, and no protocol.
"""

"""The Airbyte protocol, by an entry of our own: Airbyte's CDK can't be installed beside the tap.

Knows a run, settings and entities; nothing of how records are found, or the API is called.

Others use: nothing.
"""

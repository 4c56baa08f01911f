"""The settings: declared as data, tidied, checked; the file of Ids.

Knows what a connection and emission take of them; no protocol, each of which makes its own form.

Others use: checked, declared, loading, tidying.
"""

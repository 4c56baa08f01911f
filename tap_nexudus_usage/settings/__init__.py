"""The settings: declared as data, tidied, checked; the file of Ids.

Knows what a connection needs, and no protocol: each makes its own form of what is declared here.
"""

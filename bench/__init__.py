"""Measures the tap beside a bare script and a tap by the SDK's book; `make bench` runs it."""

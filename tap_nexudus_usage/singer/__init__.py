"""The Singer protocol, on the SDK; and what is done otherwise than the SDK does, and why."""

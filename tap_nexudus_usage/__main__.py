"""Run the tap with `python -m tap_nexudus_usage`."""

from __future__ import annotations

import sys

from tap_nexudus_usage.cli import main

if __name__ == "__main__":
    sys.exit(main())

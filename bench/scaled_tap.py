"""The tap with a faster clock, for a sandbox whose throttle is as much faster.

The first argument is how many times as fast; the others are the tap's.
"""

from __future__ import annotations

import sys

from tap_nexudus_usage.cli import main

if __name__ == "__main__":
    speed, *args = sys.argv[1:]

    # As late as the command itself imports it.
    from tap_nexudus_usage.singer.tap import TapNexudusUsage

    class ScaledTap(TapNexudusUsage):
        """The tap, faster."""

        clock_speed = float(speed)

    sys.exit(main(args, ScaledTap))

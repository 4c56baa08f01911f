"""The source as a command, which can't be installed where a client of Airbyte's is."""

from __future__ import annotations

import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parent / "environments"
SCRIPTS = Path(__file__).parent / "scripts"
"""What runs in those environments."""


def executable(folder: Path) -> Path:
    """The command in `folder`; it runs this Python, and leaves its process id in a file there."""
    path = folder / "source-nexudus-usage"
    path.write_text(
        f"""#!/bin/sh
echo $$ > '{folder}/pid'
exec '{sys.executable}' -m tap_nexudus_usage.airbyte.cli "$@"
""",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path

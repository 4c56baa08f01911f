"""Runs the command that lies beside a copy of this file, as `docker run` would in its image.

Usage: docker run --rm [-e name=value] [-v file:path-in-image[:mode]] image command [argument]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Become the command, with the files that the volumes stand for."""
    run, remove, *words = sys.argv[1:]
    assert (run, remove) == ("run", "--rm")
    files = {}
    while words[0] in {"-e", "-v"}:
        option, value, *words = words
        if option == "-e":
            name, _, given = value.partition("=")
            os.environ[name] = given
        else:
            file, path, *_ = value.split(":")
            files[path] = file
    _, *arguments = words
    command = Path(__file__).with_name("source-nexudus-usage")
    args = [str(command), *(files.get(word, word) for word in arguments)]
    os.execv(command, args)  # noqa: S606 - the project's own


if __name__ == "__main__":
    main()

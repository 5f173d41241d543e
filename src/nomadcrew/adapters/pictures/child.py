"""The program that renders one picture: the file is its standard input, the renditions are its standard output.

It limits its own memory and time before it reads anything, so that a hostile picture ends this process alone.
"""

import json
import os
import resource
import sys

from nomadcrew.adapters.pictures.decoding import renditions_of
from nomadcrew.adapters.pictures.exit_status import NO_MEMORY, NOT_READABLE, TOO_MANY_PIXELS
from nomadcrew.core.files.model import FileNotReadable, TooManyPixels
from nomadcrew.core.pictures.model import Size

# Decoding the largest picture that is accepted takes 0.6 GiB of addresses as PNG, and 1 GiB as WebP.
MEMORY_BYTES = 1_536 * 2**20
CPU_S = 20


def main() -> int:
    """Render the picture; returns the exit status. The argument is JSON: a list of longest side and squareness."""
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, CPU_S)
    _limit(resource.RLIMIT_CORE, 0)
    os.nice(10)  # requests come first
    try:
        renditions = renditions_of(sys.stdin.buffer, [Size(*size) for size in json.loads(sys.argv[1])])
    except TooManyPixels:
        return TOO_MANY_PIXELS
    except FileNotReadable:
        return NOT_READABLE
    except MemoryError:
        return NO_MEMORY
    head = [[each.width_px, each.height_px, len(each.content)] for each in renditions]
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    for each in renditions:
        sys.stdout.buffer.write(each.content)
    sys.stdout.buffer.flush()
    return 0


def _limit(which: int, most: int) -> None:
    """Lower a limit. macOS refuses one of addresses: there only the time and the pixels are limited."""
    _, hard = resource.getrlimit(which)
    lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(which, (lowest, lowest))
    except (OSError, ValueError):
        if sys.platform != "darwin":
            raise


if __name__ == "__main__":
    sys.exit(main())

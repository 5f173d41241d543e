"""The examples in the API document: requests, replies and refusals that tests sent and received."""

from pathlib import Path

import msgspec

from nomadcrew.web.openapi import Examples

FILE = Path(__file__).with_suffix(".json")


def load() -> Examples:
    """The recorded examples. `python -m tests.component.examples` records them."""
    return msgspec.json.decode(FILE.read_bytes(), type=Examples)

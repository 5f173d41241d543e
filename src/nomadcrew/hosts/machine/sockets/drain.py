"""Sending sockets away before a restart, so that their clients do not all come back in the same moment."""

import asyncio
import random

from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.web.sockets import CLOSE_RESTART

# A few are gone at once; thousands take as long as requests may take to drain, and some less.
SOCKETS_PER_S = 500.0
LONGEST_S = 6.0
STEP_S = 0.05


async def send_away(hub: Hub, *, longest_s: float = LONGEST_S) -> None:
    """Close every socket, spread evenly with some jitter; those that come meanwhile with the last."""
    steps = max(1, round(min(longest_s, len(hub) / SOCKETS_PER_S) / STEP_S))
    each = -(-len(hub) // steps)
    for _ in range(steps - 1):
        hub.close_some(each, CLOSE_RESTART, "server restarts")
        await asyncio.sleep(STEP_S * random.uniform(0.5, 1.5))  # noqa: S311 — spreads load, guards nothing
    while True:
        hub.close_some(len(hub), CLOSE_RESTART, "server restarts")
        await asyncio.sleep(STEP_S)

"""Closes sockets before a restart, spread over time, so that clients do not all reconnect at once."""

import asyncio
import random

from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.web.sockets import CLOSE_RESTART

# A few sockets close at once; thousands take a little less time than requests may take to drain.
SOCKETS_PER_S = 500.0
LONGEST_S = 6.0
STEP_S = 0.05


async def drain_sockets(hub: Hub, *, longest_s: float = LONGEST_S) -> None:
    """Close every socket, spread evenly with some jitter; new sockets are closed at the end."""
    steps = max(1, round(min(longest_s, len(hub) / SOCKETS_PER_S) / STEP_S))
    each = -(-len(hub) // steps)
    for _ in range(steps - 1):
        hub.close_some(each, CLOSE_RESTART, "server restarts")
        await asyncio.sleep(STEP_S * random.uniform(0.5, 1.5))  # noqa: S311 — spreads load, not a secret
    while True:
        hub.close_some(len(hub), CLOSE_RESTART, "server restarts")
        await asyncio.sleep(STEP_S)

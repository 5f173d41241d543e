"""Broadcasts of positions."""

from datetime import timedelta

from msgspec.structs import replace

from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.locations.arrival import Change
from nomadcrew.core.locations.model import Privacy, Sharing, StoredPoint
from nomadcrew.core.locations.service import broadcast_positions
from tests.fakes import NOON, CountingIds, RecordingBroadcaster
from tests.unit.test_locations_stream import PORTO, a_report, an_outcome

TRIP, ANA = TripId(uuid7()), UserId(uuid7())


async def broadcast(broadcaster: RecordingBroadcaster) -> list[Change]:
    """Broadcast the position of a member who has just arrived at the destination; returns the arrivals."""
    outcome = an_outcome(a_report(TRIP, ANA, PORTO))
    sharing = Sharing(True, None, None, NOON + timedelta(days=1))
    owner = replace(outcome.member.owner, sharing=sharing)
    last = StoredPoint(*PORTO, NOON, NOON, Privacy.PRECISE)
    accepted = replace(outcome, member=replace(outcome.member, owner=owner, last=last), moved=True)
    return list(await broadcast_positions(TRIP, accepted, broadcaster=broadcaster, new_id=CountingIds(), now=NOON))


async def test_a_position_is_broadcast_and_its_arrival_returned() -> None:
    broadcaster = RecordingBroadcaster()
    assert len(await broadcast(broadcaster)) == 1
    assert [(event.type, event.id) for event in broadcaster.events] == [
        ("LOCATION_UPDATED", EventId(CountingIds()()))
    ]
    assert broadcaster.latest_of == [f"{TRIP} {ANA}"]


async def test_an_arrival_is_returned_though_no_user_listens() -> None:
    broadcaster = RecordingBroadcaster(listeners=False)
    assert len(await broadcast(broadcaster)) == 1
    assert broadcaster.events == []

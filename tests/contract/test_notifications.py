"""What `Notifications` promises, and what is kept of events."""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.notifications import PostgresNotifications
from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.events import Event
from nomadcrew.core.ids import (
    EventId,
    InvitationId,
    MembershipId,
    NotificationId,
    PushTokenId,
    TripId,
    UserId,
    uuid7,
)
from nomadcrew.core.notifications.model import Notification, Recipient
from nomadcrew.core.notifications.preferences import ChatLevel, Preferences, TripPreferences
from nomadcrew.core.notifications.push import DeviceType
from nomadcrew.core.notifications.service import plan_delivery
from nomadcrew.core.permissions import ADMIN, MEMBER, Role
from tests.contract.crew import Crew
from tests.fakes import NOON


@pytest.fixture
def notifications(crew: Crew) -> PostgresNotifications:
    return PostgresNotifications(crew.pool)


async def last_event(crew: Crew) -> Event:
    async with crew.pool.transaction():
        return (await PostgresOutbox(crew.pool).pending(limit=1000))[-1]


async def notify(event: Event, *, notifications: PostgresNotifications, now: datetime) -> int:
    """Keep what an event gives people to know; returns how many notifications were new."""
    plan = await plan_delivery(event, notifications=notifications, now=now)
    assert event.trip_id is not None
    return await notifications.store(event.trip_id, plan.drafts, now=now)


async def tell(crew: Crew, notifications: PostgresNotifications) -> int:
    return await notify(await last_event(crew), notifications=notifications, now=NOON)


async def of(notifications: PostgresNotifications, user: UserId) -> list[Notification]:
    return list(await notifications.page(user, is_read=None, limit=50, offset=0))


async def test_an_invitation_reaches_the_invited_with_the_keys_the_client_reads(
    crew: Crew, notifications: PostgresNotifications
) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    invitation = await PostgresInvitations(crew.pool).invite(
        Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
        "ben@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    event = await last_event(crew)
    assert await notify(event, notifications=notifications, now=NOON) == 1
    assert await notify(event, notifications=notifications, now=NOON + timedelta(hours=1)) == 0
    [told] = await of(notifications, ben)
    assert told.type == "TRIP_INVITATION_RECEIVED"
    assert told.metadata == {
        "inviterName": "ana",
        "inviterID": str(ana),
        "tripID": str(trip),
        "tripName": "Porto",
        "invitationID": str(invitation.id),
    }
    assert told.message == "ana invited you to Porto"
    live = await last_event(crew)
    assert (live.type, live.recipient_id, live.audience, live.trip_id) == (
        "notification.created",
        ben,
        "user",
        trip,
    )
    payload = json.loads(live.payload)
    assert payload == {
        "id": str(told.id), "message": told.message, "read": False, "createdAt": "2026-07-01T12:00:00Z",
        "type": told.type, "metadata": told.metadata,
    }  # fmt: skip


async def test_a_join_by_invitation_tells_the_inviter_and_the_others(
    crew: Crew, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo = await crew.person("ana"), await crew.person("ben"), await crew.person("cleo")
    trip = await crew.trip(ana)
    await crew.join(trip, cleo, ana)
    invitations = PostgresInvitations(crew.pool)
    invitation = await invitations.invite(
        Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
        "ben@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    await invitations.accept(
        invitation.id, ben, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=NOON
    )
    assert await tell(crew, notifications) == 2
    assert [n.type for n in await of(notifications, ana)] == ["TRIP_INVITATION_ACCEPTED"]
    [joined] = await of(notifications, cleo)
    assert joined.metadata == {
        "tripID": str(trip), "tripName": "Porto", "addedUserID": str(ben), "addedUserName": "ben",
        "adderUserID": str(ana), "adderUserName": "ana",
    }  # fmt: skip
    assert await of(notifications, ben) == []


async def test_leaving_and_being_removed_are_told_differently(
    crew: Crew, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo = await crew.person("ana"), await crew.person("ben"), await crew.person("cleo")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    await crew.join(trip, cleo, ana)
    await crew.leave(trip, ben, ben)
    await tell(crew, notifications)
    assert {n.type for n in [*await of(notifications, ana), *await of(notifications, cleo)]} == {"TRIP_MEMBER_LEFT"}
    await crew.leave(trip, cleo, ana)
    await tell(crew, notifications)
    [removed] = [n for n in await of(notifications, cleo) if n.type == "MEMBERSHIP_CHANGE"]
    assert removed.message == "You were removed from Porto"


async def test_a_role_change_is_told_to_whom_it_concerns(crew: Crew, notifications: PostgresNotifications) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    await PostgresMembers(crew.pool).change_role(
        Access(trip, ana, ADMIN), ben, Role.ADMIN, event_ids=(EventId(uuid7()), EventId(uuid7())), now=NOON
    )
    assert await tell(crew, notifications) == 1
    [told] = await of(notifications, ben)
    assert (told.type, told.message) == ("MEMBERSHIP_CHANGE", "Your role on Porto is now admin")


async def test_lists_pages_and_counts_are_ones_own(crew: Crew, notifications: PostgresNotifications) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    for name in ("p", "q", "r"):
        await crew.join(trip, await crew.person(name), ana)
    await crew.join(trip, ben, ana)
    await tell(crew, notifications)  # p, q and r hear of ben, ana added him herself
    p = (await PostgresMembers(crew.pool).list_for_trip(Access(trip, ana, ADMIN)))[1].user_id
    [told] = await of(notifications, p)
    assert await notifications.count_unread(p) == 1
    for stranger in (ana, ben):
        with pytest.raises(NotFound):
            await notifications.mark_read(told.id, stranger, now=NOON)
        with pytest.raises(NotFound):
            await notifications.delete(told.id, stranger)
    await notifications.mark_read(told.id, p, now=NOON)
    await notifications.mark_read(told.id, p, now=NOON)
    assert await notifications.count_unread(p) == 0
    assert await notifications.page(p, is_read=False, limit=5, offset=0) == []
    assert await notifications.mark_all_read(p, now=NOON) == 0
    assert await notifications.delete_all(p) == 1
    with pytest.raises(NotFound):
        await notifications.delete(NotificationId(uuid4()), p)
    with pytest.raises(NotOnboarded):
        await notifications.count_unread(UserId(uuid4()))


async def test_facts_say_who_is_concerned_and_how_they_want_to_be_told(
    crew: Crew, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo, dora = [await crew.person(name) for name in ("ana", "ben", "cleo", "dora")]
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    invitation = await PostgresInvitations(crew.pool).invite(
        Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
        "cleo@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    await PostgresPushTokens(crew.pool).register(PushTokenId(uuid7()), "phone", DeviceType.IOS, ben, now=NOON)
    await PostgresProfiles(crew.pool).merge_notification_preferences({"push": False}, {}, cleo, now=NOON)
    until = NOON + timedelta(days=1)
    await notifications.set_trip_preferences(
        Access(trip, ben, MEMBER), TripPreferences(until, ChatLevel.NONE), now=NOON
    )
    facts = await notifications.facts(trip, [dora, UserId(uuid4())], invitation.id)
    assert facts is not None
    assert facts.trip_name == "Porto"
    assert set(facts.members) == {ana, ben}
    assert facts.users == {
        ana: Recipient("ana", is_member=True),
        ben: Recipient("ben", is_member=True, has_phone=True, trip=TripPreferences(until, ChatLevel.NONE)),
        cleo: Recipient("cleo", is_invited=True, preferences=Preferences(push=False)),
        dora: Recipient("dora"),
    }
    assert await notifications.facts(TripId(uuid4()), [ana], None) is None
    elsewhere = await crew.trip(dora)
    other = await notifications.facts(elsewhere, [], invitation.id)
    assert other is not None
    assert set(other.users) == {dora}


async def test_what_one_wants_of_a_trip_is_kept_while_one_is_on_it(
    crew: Crew, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo = await crew.person("ana"), await crew.person("ben"), await crew.person("cleo")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    wanted = TripPreferences(NOON + timedelta(hours=8), ChatLevel.MENTIONS)
    assert await notifications.trip_preferences(Access(trip, ben, MEMBER)) == TripPreferences()
    for kept in (wanted, TripPreferences(chat=ChatLevel.ALL), wanted):
        await notifications.set_trip_preferences(Access(trip, ben, MEMBER), kept, now=NOON)
        assert await notifications.trip_preferences(Access(trip, ben, MEMBER)) == kept
    assert await notifications.trip_preferences(Access(trip, ana, MEMBER)) == TripPreferences()
    for stranger, refusal in ((cleo, NotTripMember), (UserId(uuid4()), NotOnboarded)):
        with pytest.raises(refusal):
            await notifications.set_trip_preferences(Access(trip, stranger, MEMBER), wanted, now=NOON)
        with pytest.raises(refusal):
            await notifications.trip_preferences(Access(trip, stranger, MEMBER))
    await crew.leave(trip, ben, ben)
    with pytest.raises(NotTripMember):
        await notifications.trip_preferences(Access(trip, ben, MEMBER))

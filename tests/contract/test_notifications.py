"""`Notifications`, and the notifications that events cause."""

import asyncio
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
from nomadcrew.core.invitations.model import Invitation
from nomadcrew.core.notifications.model import Draft, Notice, Notification, Recipient
from nomadcrew.core.notifications.preferences import ChatLevel, Kind, Preferences, TripPreferences
from nomadcrew.core.notifications.push import DeviceType
from nomadcrew.core.notifications.service import plan_delivery
from nomadcrew.core.permissions import ADMIN, MEMBER, Role
from tests.contract.trip_database import TripDb
from tests.counting_sql import CountingSql
from tests.fakes import NOON


@pytest.fixture
def notifications(db: TripDb) -> PostgresNotifications:
    return PostgresNotifications(db.pool)


async def last_event(db: TripDb) -> Event:
    return (await PostgresOutbox(db.pool).publish(limit=1_000, now=NOON)).events[-1]


async def notify(event: Event, *, notifications: PostgresNotifications, now: datetime) -> int:
    """Store the notifications of an event; return the number of new ones."""
    plan = await plan_delivery(event, notifications=notifications, now=now)
    assert event.trip_id is not None
    return await notifications.store(event.trip_id, plan.drafts, caused_at=event.occurred_at, now=now)


async def notify_last(db: TripDb, notifications: PostgresNotifications) -> int:
    return await notify(await last_event(db), notifications=notifications, now=NOON)


async def page_of(notifications: PostgresNotifications, user: UserId) -> list[Notification]:
    return list(await notifications.page(user, is_read=None, limit=50, offset=0))


@pytest.mark.contract("rest-core.invite.client-notification", "rest-activity.notifications.fields")
async def test_an_invitation_notifies_the_invited_user_with_the_metadata_that_the_client_reads(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    invitation = await PostgresInvitations(db.pool).invite(
        Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
        "ben@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    event = await last_event(db)
    assert await notify(event, notifications=notifications, now=NOON) == 1
    assert await notify(event, notifications=notifications, now=NOON + timedelta(hours=1)) == 0
    [notification] = await page_of(notifications, ben)
    assert notification.type == "TRIP_INVITATION_RECEIVED"
    assert json.loads(notification.metadata) == {
        "inviterName": "ana",
        "inviterID": str(ana),
        "tripID": str(trip),
        "tripName": "Porto",
        "invitationID": str(invitation.id),
    }
    assert notification.message == "ana invited you to Porto"
    broadcast = await last_event(db)
    assert (broadcast.type, broadcast.recipient_id, broadcast.audience, broadcast.trip_id) == (
        "notification.created",
        ben,
        "user",
        trip,
    )
    payload = json.loads(broadcast.payload)
    assert payload == {
        "id": str(notification.id), "message": notification.message, "read": False,
        "createdAt": "2026-07-01T12:00:00Z",
        "type": notification.type, "metadata": json.loads(notification.metadata),
    }  # fmt: skip


async def test_metadata_of_any_form_is_listed_as_it_is_stored(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana = await db.user("ana")
    metadata = {
        "tripName": 'Zoë\'s "Été" 🏕️\n\\', "updaterName": "Åsa", "role": None, "count": 2**70, "ratio": 1.0,
        "nested": [{"a": [None, True]}],
    }  # fmt: skip
    await db.run(
        "INSERT INTO notifications (id, user_id, type, metadata, created_at, updated_at)"
        " VALUES (:id::uuid, :user::uuid, 'TRIP_UPDATE', :metadata::jsonb, :now::timestamptz, :now::timestamptz)",
        id=uuid4(), user=ana, metadata=json.dumps(metadata), now=NOON,
    )  # fmt: skip
    [notification] = await page_of(notifications, ana)
    assert json.loads(notification.metadata) == metadata
    assert notification.message == 'Åsa updated Zoë\'s "Été" 🏕️\n\\'


@pytest.mark.contract(
    "rest-core.accept.fix-event",
    "rest-activity.notifications.client-metadata",
    "rest-activity.notifications.fix-types",
)
async def test_a_join_by_invitation_notifies_the_inviter_and_the_members(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    await db.join(trip, cleo, ana)
    invitations = PostgresInvitations(db.pool)
    invitation = await invitations.invite(
        Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
        "ben@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    await invitations.accept(
        invitation.id, ben, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=NOON
    )
    assert await notify_last(db, notifications) == 2
    assert [n.type for n in await page_of(notifications, ana)] == ["TRIP_INVITATION_ACCEPTED"]
    [joined] = await page_of(notifications, cleo)
    assert json.loads(joined.metadata) == {
        "tripID": str(trip), "tripName": "Porto", "addedUserID": str(ben), "addedUserName": "ben",
        "adderUserID": str(ana), "adderUserName": "ana",
    }  # fmt: skip
    assert await page_of(notifications, ben) == []


@pytest.mark.contract("rest-activity.notifications.fix-types")
async def test_leaving_and_being_removed_have_different_notifications(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await db.join(trip, cleo, ana)
    await db.leave(trip, ben, ben)
    await notify_last(db, notifications)
    assert {n.type for n in [*await page_of(notifications, ana), *await page_of(notifications, cleo)]} == {
        "TRIP_MEMBER_LEFT"
    }
    await db.leave(trip, cleo, ana)
    await notify_last(db, notifications)
    [removed] = [n for n in await page_of(notifications, cleo) if n.type == "MEMBERSHIP_CHANGE"]
    assert removed.message == "You were removed from Porto"


@pytest.mark.contract("rest-activity.notifications.fix-types")
async def test_a_role_change_notifies_the_member(db: TripDb, notifications: PostgresNotifications) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await PostgresMembers(db.pool).change_role(
        Access(trip, ana, ADMIN), ben, Role.ADMIN, event_ids=(EventId(uuid7()), EventId(uuid7())), now=NOON
    )
    assert await notify_last(db, notifications) == 1
    [notification] = await page_of(notifications, ben)
    assert (notification.type, notification.message) == ("MEMBERSHIP_CHANGE", "Your role on Porto is now admin")


async def test_a_user_reads_and_changes_own_notifications_only(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    for name in ("p", "q", "r"):
        await db.join(trip, await db.user(name), ana)
    await db.join(trip, ben, ana)
    await notify_last(db, notifications)  # p, q and r are notified of ben; ana added him
    p = (await PostgresMembers(db.pool).list_for_trip(Access(trip, ana, ADMIN)))[1].user_id
    [notification] = await page_of(notifications, p)
    assert await notifications.count_unread(p) == 1
    for outsider in (ana, ben):
        with pytest.raises(NotFound):
            await notifications.mark_read(notification.id, outsider, now=NOON)
        with pytest.raises(NotFound):
            await notifications.delete(notification.id, outsider)
    await notifications.mark_read(notification.id, p, now=NOON)
    await notifications.mark_read(notification.id, p, now=NOON)
    assert await notifications.count_unread(p) == 0
    assert await notifications.page(p, is_read=False, limit=5, offset=0) == []
    assert await notifications.mark_all_read(p, now=NOON) == 0
    assert await notifications.delete_all(p) == 1
    with pytest.raises(NotFound):
        await notifications.delete(NotificationId(uuid4()), p)
    with pytest.raises(NotOnboarded):
        await notifications.count_unread(UserId(uuid4()))


async def test_facts_hold_the_affected_users_and_their_preferences(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo, dora = [await db.user(name) for name in ("ana", "ben", "cleo", "dora")]
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    invitation = await PostgresInvitations(db.pool).invite(
        Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
        "cleo@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    await PostgresPushTokens(db.pool).register(PushTokenId(uuid7()), "phone", DeviceType.IOS, ben, now=NOON)
    await PostgresProfiles(db.pool).merge_notification_preferences({"push": False}, {}, cleo, now=NOON)
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
    other_trip = await db.trip(dora)
    other = await notifications.facts(other_trip, [], invitation.id)
    assert other is not None
    assert set(other.users) == {dora}


async def test_trip_preferences_are_stored_while_the_user_is_a_member(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    wanted = TripPreferences(NOON + timedelta(hours=8), ChatLevel.MENTIONS)
    assert await notifications.trip_preferences(Access(trip, ben, MEMBER)) == TripPreferences()
    for preferences in (wanted, TripPreferences(chat=ChatLevel.ALL), wanted):
        await notifications.set_trip_preferences(Access(trip, ben, MEMBER), preferences, now=NOON)
        assert await notifications.trip_preferences(Access(trip, ben, MEMBER)) == preferences
    assert await notifications.trip_preferences(Access(trip, ana, MEMBER)) == TripPreferences()
    for outsider, refusal in ((cleo, NotTripMember), (UserId(uuid4()), NotOnboarded)):
        with pytest.raises(refusal):
            await notifications.set_trip_preferences(Access(trip, outsider, MEMBER), wanted, now=NOON)
        with pytest.raises(refusal):
            await notifications.trip_preferences(Access(trip, outsider, MEMBER))
    await db.leave(trip, ben, ben)
    with pytest.raises(NotTripMember):
        await notifications.trip_preferences(Access(trip, ben, MEMBER))


@pytest.mark.contract("rest-activity.notifications.fix-renewed")
async def test_a_renewed_invitation_renews_its_one_notification_and_an_answer_ends_it(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana, name="Porto")
    invitations = PostgresInvitations(db.pool)

    async def invite(at: datetime) -> tuple[Invitation, Event]:
        command = Command(trip, ana, ADMIN, EventId(uuid7()), at)
        made = await invitations.invite(
            command, "ben@example.org", Role.MEMBER, invitation_id=InvitationId(uuid7())
        )
        return made, await last_event(db)

    _, first = await invite(NOON)
    assert await notify(first, notifications=notifications, now=NOON) == 1
    [notification] = await page_of(notifications, ben)
    await notifications.mark_read(notification.id, ben, now=NOON)
    later = NOON + timedelta(hours=1)
    invitation, second = await invite(later)
    assert await notify(second, notifications=notifications, now=later) == 1
    for repeated in (second, first):
        assert await notify(repeated, notifications=notifications, now=later + timedelta(hours=1)) == 0
    [renewed] = await page_of(notifications, ben)
    assert (renewed.id, renewed.is_read, renewed.created_at) == (notification.id, False, later)
    await invitations.decline(invitation.id, ben, event_id=EventId(uuid7()), now=later)
    assert await page_of(notifications, ben) == []
    assert await notify(second, notifications=notifications, now=later) == 0
    assert await page_of(notifications, ben) == []


@pytest.mark.parametrize("answer", ["accepted", "revoked"])
async def test_an_invitation_that_is_answered_in_any_way_has_no_notification(
    db: TripDb, notifications: PostgresNotifications, answer: str
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip, other = await db.trip(ana), await db.trip(ana)
    invitations = PostgresInvitations(db.pool)
    made = []
    for where in (trip, other):
        command = Command(where, ana, ADMIN, EventId(uuid7()), NOON)
        made.append(
            await invitations.invite(command, "ben@example.org", Role.MEMBER, invitation_id=InvitationId(uuid7()))
        )
        await notify_last(db, notifications)
    if answer == "accepted":
        await invitations.accept(
            made[0].id, ben, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=NOON
        )
    else:
        await invitations.revoke(Access(trip, ana, ADMIN), made[0].id, now=NOON)
    [left] = await page_of(notifications, ben)
    assert json.loads(left.metadata)["invitationID"] == str(made[1].id)


async def test_notifications_of_several_events_share_a_statement(db: TripDb) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    for user_id in (ben, eve):
        await db.join(trip, user_id, ana)
    sql = CountingSql(db.pool)
    notifications = PostgresNotifications(sql)
    facts = await asyncio.gather(
        notifications.facts(trip, [ana], None),
        notifications.facts(trip, [UserId(uuid7()), eve], None),
        notifications.facts(TripId(uuid7()), [ana], None),
        notifications.facts(trip, [], InvitationId(uuid7())),
    )
    assert [None if each is None else set(each.users) for each in facts] == [{ana, ben, eve}] * 2 + [None] + [
        {ana, ben, eve}
    ]
    drafts = [
        Draft.of(EventId(uuid7()), user_id, Notice(Kind.TRIP, "TRIP_UPDATED", {"n": n}, [user_id]))
        for n, user_id in enumerate((ben, ben, eve))
    ]
    gone = Draft.of(EventId(uuid7()), UserId(uuid7()), Notice(Kind.TRIP, "TRIP_UPDATED", {}, []))
    counts = await asyncio.gather(
        notifications.store(trip, drafts, caused_at=NOON, now=NOON),
        notifications.store(trip, [gone], caused_at=NOON, now=NOON),
        notifications.store(trip, drafts, caused_at=NOON, now=NOON),  # the same event again
        notifications.store(trip, [], caused_at=NOON, now=NOON),
    )
    assert list(counts) == [3, 0, 0, 0]
    assert sql.statements == ["facts", "store", "store"]
    stored = [event for event in await db.events() if event["type"] == "notification.created"]
    assert len(stored) == 3
    assert [await notifications.count_unread(user_id) for user_id in (ana, ben, eve)] == [0, 2, 1]


async def test_a_later_event_in_a_batch_renews_the_notification_of_an_earlier_one(
    db: TripDb, notifications: PostgresNotifications
) -> None:
    ana = await db.user("ana")
    trip, subject = await db.trip(ana), uuid7()
    later = NOON + timedelta(seconds=1)

    def draft(text: str) -> Draft:
        return Draft.of(
            EventId(uuid7()), ana, Notice(Kind.TRIP, "TRIP_UPDATED", {"t": text}, [ana], subject=subject)
        )

    counts = await asyncio.gather(
        notifications.store(trip, [draft("first")], caused_at=NOON, now=NOON),
        notifications.store(trip, [draft("second")], caused_at=later, now=later),
    )
    assert list(counts) == [1, 1]
    [left] = await page_of(notifications, ana)
    assert (json.loads(left.metadata), left.created_at) == ({"t": "second"}, later)

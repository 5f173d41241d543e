"""Every write beside itself and beside every other one: afterwards, all counts, limits and events agree.

The pairs run on a real PostgreSQL, on as many connections as there are requests.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import combinations_with_replacement

import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.integrity import PostgresIntegrity
from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.locations import PostgresLocationSharing, PostgresMeetingPoints
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.positions import PostgresPositions
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.model import Message, NewMessage, Reaction
from nomadcrew.core.errors import DomainError, Unavailable
from nomadcrew.core.ids import (
    EventId,
    InvitationId,
    MembershipId,
    MessageId,
    PushTokenId,
    TodoId,
    TripId,
    UserId,
    uuid7,
)
from nomadcrew.core.locations.model import MeetingPoint, Privacy
from nomadcrew.core.locations.reports import ReportedPosition, SharingChoice, single
from nomadcrew.core.notifications.push import DeviceType
from nomadcrew.core.permissions import ADMIN, MEMBER, OWN, OWN_OR_ADMIN, Role, Rule
from nomadcrew.core.todos.model import Todo, TodoStatus
from nomadcrew.core.trips.model import TripChange
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, CountingOutbox
from tests.postgres import Postgres

PEOPLE, COPIES, ROUNDS = 6, 3, 2
MAX_MEMBERS, MAX_TRIPS, MAX_REACTIONS, MAX_EDITS, MAX_PHONES = 4, 4, 3, 2, 2
HALF_ACCEPTED = "accepted once"
EMOJI = ("\u2764", "\u2764\ufe0f", "a", "b", "c", "d")

# Events against rows.
_JOINS = """
    SELECT m.trip_id, m.user_id FROM trip_memberships m
    LEFT JOIN outbox o ON o.trip_id = m.trip_id AND o.actor_id = m.user_id
        AND o.type IN ('TRIP_CREATED', 'MEMBER_ADDED', 'MEMBER_REMOVED')
    GROUP BY m.trip_id, m.user_id, m.status
    HAVING count(*) FILTER (WHERE o.type IN ('TRIP_CREATED', 'MEMBER_ADDED'))
           - count(*) FILTER (WHERE o.type = 'MEMBER_REMOVED') <> (m.status = 'ACTIVE')::int"""
_ROLES = """
    SELECT m.trip_id, m.user_id, m.role, last.payload FROM trip_memberships m CROSS JOIN LATERAL (
        SELECT o.payload FROM outbox o WHERE o.trip_id = m.trip_id AND o.actor_id = m.user_id
            AND o.type IN ('MEMBER_ADDED', 'MEMBER_ROLE_UPDATED') ORDER BY o.entered DESC LIMIT 1) AS last
    WHERE m.status = 'ACTIVE' AND upper(coalesce(last.payload ->> 'new_role', last.payload ->> 'role')) <> m.role"""
_REACTIONS = """
    SELECT m.id FROM chat_messages m WHERE m.deleted_at IS NULL
        AND (SELECT count(*) FROM chat_reactions r WHERE r.message_id = m.id) <> (
            SELECT count(*) FILTER (WHERE o.type = 'CHAT_REACTION_ADDED')
                   - count(*) FILTER (WHERE o.type = 'CHAT_REACTION_REMOVED')
            FROM outbox o WHERE o.trip_id = m.trip_id AND o.type LIKE 'CHAT_REACTION_%'
                AND o.payload ->> 'messageId' = m.id::text)"""
_SPELLINGS = """
    SELECT message_id FROM chat_reactions GROUP BY message_id, user_id, emoji_key(emoji) HAVING count(*) > 1"""
_DELETED_TEXTS = """
    SELECT o.id FROM outbox o JOIN chat_messages m ON m.id::text = o.payload ->> 'messageId'
    WHERE m.deleted_at IS NOT NULL AND o.payload ->> 'content' LIKE '%secret%'"""
_TODOS = "SELECT text FROM todos WHERE deleted_at IS NULL GROUP BY text HAVING count(*) > 1"
_PENDING_OF_ACCEPTED = """
    SELECT i.id FROM trip_invitations i WHERE i.status = 'ACCEPTED' AND NOT EXISTS (
        SELECT FROM trip_memberships m WHERE m.trip_id = i.trip_id AND m.user_id = i.invitee_id)"""
_MEETING_POINTS = """
    SELECT mp.trip_id FROM meeting_points mp CROSS JOIN LATERAL (
        SELECT o.payload ->> 'name' AS name FROM outbox o
        WHERE o.trip_id = mp.trip_id AND o.type = 'MEETING_POINT_CHANGED' ORDER BY o.entered DESC LIMIT 1) AS last
    WHERE last.name IS DISTINCT FROM mp.name"""
HAPPENED = {
    "MEMBER_ADDED", "MEMBER_REMOVED", "MEMBER_ROLE_UPDATED", "CHAT_MESSAGE_EDITED", "CHAT_MESSAGE_DELETED",
    "CHAT_REACTION_ADDED", "CHAT_REACTION_REMOVED", "CHAT_READ_RECEIPT", "LOCATION_SHARING_CHANGED",
    "MEETING_POINT_CHANGED", "TODO_CREATED", "TRIP_CREATED", "TRIP_UPDATED", "invitation.declined",
}  # fmt: skip
AGREEMENTS = {
    "joins": _JOINS,
    "roles": _ROLES,
    "reactions": _REACTIONS,
    "spellings": _SPELLINGS,
    "texts of deleted messages": _DELETED_TEXTS,
    "to-dos": _TODOS,
    "accepted invitations": _PENDING_OF_ACCEPTED,
    "meeting points": _MEETING_POINTS,
}


Request = Callable[[], Awaitable[object]]


@dataclass
class Crowd:
    """One trip that all writes are about, and its people. Most writes of a round are about the same `person`."""

    db: TripDb
    trip: TripId
    people: list[UserId]
    owner: UserId
    person: UserId
    messages: list[Message] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(12))
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def one(self) -> UserId:
        return self.person if self.chance.random() < 0.8 else self.chance.choice(self.people)

    @property
    def message(self) -> Message:
        return self.messages[-1]

    def command(self, by: UserId, rule: Rule = MEMBER) -> Command:
        return Command(self.trip, by, rule, EventId(uuid7()), NOON)

    async def next_round(self) -> None:
        self.person = self.chance.choice(self.people)
        [row] = await self.db.rows(
            """SELECT user_id FROM trip_memberships
               WHERE trip_id = :id::uuid AND status = 'ACTIVE' AND role = 'OWNER'""",
            id=self.trip,
        )
        self.owner = UserId(row["user_id"])
        made = NewMessage(MessageId(uuid7()), self.trip, self.owner, "secret", None, [], EventId(uuid7()), NOON)
        self.messages.append(await chat(self).add(made, MEMBER))
        for emoji in EMOJI[1:3]:
            given = Reaction(made.id, self.trip, self.owner, emoji, NOON)
            await chat(self).add_reaction(given, MEMBER, EventId(uuid7()))

    async def invite(self) -> tuple[InvitationId, UserId]:
        """An open invitation, and the invited person."""
        person = self.one
        [row] = await self.db.rows("SELECT email FROM user_profiles WHERE id = :id::uuid", id=person)
        made = await invitations(self).invite(
            self.command(self.owner, ADMIN),
            row["email"],
            self.chance.choice((Role.MEMBER, Role.ADMIN)),
            invitation_id=InvitationId(uuid7()),
        )
        return made.id, person


def chat(crowd: Crowd) -> PostgresChat:
    return PostgresChat(crowd.db.pool, CountingOutbox())


def invitations(crowd: Crowd) -> PostgresInvitations:
    return PostgresInvitations(crowd.db.pool)


async def add(crowd: Crowd) -> Request:
    return partial(
        PostgresMembers(crowd.db.pool).add,
        crowd.command(crowd.owner, ADMIN),
        crowd.one,
        Role.MEMBER,
        membership_id=MembershipId(uuid7()),
    )


async def leave(crowd: Crowd) -> Request:
    person = crowd.one
    return partial(crowd.db.leave, crowd.trip, person, person)


async def kick(crowd: Crowd) -> Request:
    return partial(crowd.db.leave, crowd.trip, crowd.one, crowd.owner)


async def accept(crowd: Crowd) -> Request:
    invitation, person = await crowd.invite()

    async def both() -> None:
        """A phone that sends its request twice gets the same reply twice, or the same refusal."""
        replies = await asyncio.gather(
            *(
                invitations(crowd).accept(
                    invitation, person, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=NOON
                )
                for _ in range(2)
            ),
            return_exceptions=True,
        )
        refusals = [reply for reply in replies if isinstance(reply, BaseException)]
        if refusals:
            crowd.refusals[HALF_ACCEPTED] += len(refusals) == 1
            raise refusals[0]

    return both


async def decline(crowd: Crowd) -> Request:
    invitation, person = await crowd.invite()
    return partial(invitations(crowd).decline, invitation, person, event_id=EventId(uuid7()), now=NOON)


async def revoke(crowd: Crowd) -> Request:
    invitation, _ = await crowd.invite()
    return partial(invitations(crowd).revoke, Access(crowd.trip, crowd.owner, ADMIN), invitation, now=NOON)


async def change_role(crowd: Crowd) -> Request:
    return changed_to(crowd, crowd.chance.choice((Role.MEMBER, Role.ADMIN)))


async def transfer(crowd: Crowd) -> Request:
    return changed_to(crowd, Role.OWNER)


def changed_to(crowd: Crowd, role: Role) -> Request:
    return partial(
        PostgresMembers(crowd.db.pool).change_role,
        Access(crowd.trip, crowd.owner, ADMIN),
        crowd.one,
        role,
        event_ids=(EventId(uuid7()), EventId(uuid7())),
        now=NOON,
    )


async def rename(crowd: Crowd) -> Request:
    return partial(
        PostgresTrips(crowd.db.pool).change,
        Access(crowd.trip, crowd.owner, ADMIN),
        TripChange(name=crowd.chance.choice("xyz")),
        must_move=False,
        event_ids=(EventId(uuid7()), EventId(uuid7())),
        now=NOON,
    )


async def found(crowd: Crowd) -> Request:
    return partial(crowd.db.trip, crowd.one)


async def jot(crowd: Crowd) -> Request:
    text = crowd.chance.choice("pqrs")
    todo = Todo(TodoId(uuid7()), crowd.trip, text, TodoStatus.INCOMPLETE, crowd.owner, NOON, NOON)
    todos = PostgresTodos(crowd.db.pool)
    return partial(todos.add, todo, MEMBER, EventId(uuid7()), now=NOON, fingerprint=text.encode())


async def edit(crowd: Crowd) -> Request:
    text = f"secret {crowd.chance.random()}"
    return partial(chat(crowd).edit, crowd.command(crowd.owner, OWN), crowd.message.id, text)


async def delete(crowd: Crowd) -> Request:
    return partial(chat(crowd).delete, crowd.command(crowd.owner, OWN_OR_ADMIN), crowd.message.id)


async def react(crowd: Crowd) -> Request:
    return partial(chat(crowd).add_reaction, reaction(crowd), MEMBER, EventId(uuid7()))


async def unreact(crowd: Crowd) -> Request:
    return partial(chat(crowd).remove_reaction, reaction(crowd), MEMBER, EventId(uuid7()))


def reaction(crowd: Crowd) -> Reaction:
    return Reaction(crowd.message.id, crowd.trip, crowd.owner, crowd.chance.choice(EMOJI), NOON)


async def read(crowd: Crowd) -> Request:
    return partial(chat(crowd).mark_read, crowd.command(crowd.owner), crowd.chance.choice(crowd.messages[-3:]).id)


async def report(crowd: Crowd) -> Request:
    now = NOON + timedelta(seconds=crowd.chance.random())
    fix = ReportedPosition(41.1, -8.6, None, Privacy.PRECISE)
    choice = SharingChoice(crowd.chance.choice((None, True, False)))
    made = single(crowd.trip, crowd.one, fix, choice, EventId(uuid7()), now=now)
    return partial(PostgresPositions(crowd.db.pool).accept, made, MEMBER)


async def share(crowd: Crowd) -> Request:
    return partial(
        PostgresLocationSharing(crowd.db.pool).change_sharing,
        crowd.command(crowd.one),
        is_enabled=crowd.chance.choice((None, True, False)),
        expires_at=None,
        privacy=crowd.chance.choice((None, "hidden", "precise")),
        keep_privacy=crowd.chance.choice((True, False)),
    )


async def meet(crowd: Crowd) -> Request:
    point = MeetingPoint(41.1, -8.6, crowd.chance.choice("uvw"), 100, None, NOON)
    points = PostgresMeetingPoints(crowd.db.pool)
    return partial(points.put, Access(crowd.trip, crowd.owner, MEMBER), point, EventId(uuid7()))


async def scatter(crowd: Crowd) -> Request:
    return partial(PostgresMeetingPoints(crowd.db.pool).clear, crowd.command(crowd.owner))


async def register(crowd: Crowd) -> Request:
    token = f"phone {crowd.chance.randrange(6)}"
    tokens = PostgresPushTokens(crowd.db.pool)
    return partial(tokens.register, PushTokenId(uuid7()), token, DeviceType.IOS, crowd.one, now=NOON)


async def prefer(crowd: Crowd) -> Request:
    person, ghost = crowd.one, crowd.chance.choice((True, False))
    profiles = PostgresProfiles(crowd.db.pool)
    return partial(profiles.merge_preferences, person, {"ghostMode": ghost}, person, is_admin=False, now=NOON)


WRITES = (
    add, leave, kick, accept, decline, revoke, change_role, transfer, rename, found, jot, edit, delete, react,
    unreact, read, report, share, meet, scatter, register, prefer,
)  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(postgres: Postgres, template: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowd]:
    connect = await postgres.fresh_database(template)
    pool = Database(connect, size=2 * COPIES + 2)
    db = TripDb(pool)
    ana = await db.user("ana")
    people = [ana, *[await db.user(f"person{number}") for number in range(PEOPLE)]]
    earlier = await db.trip(ana)
    for person in people[1:]:
        # Only users who were once on a trip together add each other without an invitation.
        await db.join(earlier, person, ana)
    for person in people[1:]:
        await db.leave(earlier, person, ana)
    for limit, modules, value in (
        ("MAX_MEMBERS", ("members", "invitations", "integrity"), MAX_MEMBERS),
        ("MAX_TRIPS_PER_USER", ("members", "invitations", "trips", "integrity"), MAX_TRIPS),
        ("MAX_REACTIONS", ("chat", "integrity"), MAX_REACTIONS),
        ("MAX_EDITS", ("chat", "integrity"), MAX_EDITS),
        ("MAX_TOKENS_PER_USER", ("push", "integrity"), MAX_PHONES),
    ):
        for module in modules:
            monkeypatch.setattr(f"nomadcrew.adapters.postgres.{module}.{limit}", value)
    yield Crowd(db, await db.trip(ana), people, ana, ana)
    await pool.close()
    await postgres.drop_database(connect)


async def attempt(crowd: Crowd, name: str, request: Request) -> None:
    """Send a request that may be refused, but not fail: a deadlock is an outage."""
    try:
        await request()
    except Unavailable:
        raise
    except DomainError as refusal:
        crowd.refusals[f"{name}: {refusal.code}"] += 1


async def prepared(crowd: Crowd, work: Callable[[Crowd], Awaitable[Request]]) -> Request | None:
    """A request, or None if what it needs is refused, as an invitation of a member is."""
    try:
        return await work(crowd)
    except DomainError:
        return None


async def disagreements(crowd: Crowd) -> dict[str, object]:
    found: dict[str, object] = {
        name: rows for name, text in AGREEMENTS.items() if (rows := await crowd.db.rows(text))
    }
    faults = await PostgresIntegrity(crowd.db.pool).find_faults(limit=10)
    return found | ({"faults": faults} if faults else {})


async def test_every_write_beside_every_other_leaves_nothing_wrong(crowd: Crowd) -> None:
    pairs = list(combinations_with_replacement(WRITES, 2)) * ROUNDS
    crowd.chance.shuffle(pairs)
    for pair in pairs:
        await crowd.next_round()
        requests = [(work.__name__, await prepared(crowd, work)) for work in pair for _ in range(COPIES)]
        half_accepted = crowd.refusals[HALF_ACCEPTED]
        await asyncio.gather(*(attempt(crowd, name, request) for name, request in requests if request))
        assert await disagreements(crowd) == {}, " beside ".join(work.__name__ for work in pair)
        # Only a member who was removed in between may get two replies.
        assert crowd.refusals[HALF_ACCEPTED] == half_accepted or {leave, kick} & set(pair)
    # The writes were not refused all the time, and the limits were met.
    assert {event["type"] for event in await crowd.db.events()} >= HAPPENED
    reasons = {refusal.partition(": ")[2] for refusal in crowd.refusals}
    assert reasons >= {"too_many_reactions", "too_many_edits", "too_many_trips", "trip_full"}

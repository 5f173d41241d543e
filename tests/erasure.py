"""A user with data of every kind, and a search for what is left of one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.auth.administration import create_user
from nomadcrew.core.events import EMAIL, NOTIFICATIONS, Event
from nomadcrew.core.ids import UserId
from tests.archives import TRIP, zipped
from tests.component.requests import FORM_DATA, POSITION, document_form, image_form
from tests.sample_files import JPEG_OF_A_PHONE as PICTURE
from tests.world import Answer, User, World

PASSWORD = "Over-the-hills-7"
NAMES = {"firstName": "Zuleika", "lastName": "Quetzalcoatl"}
CONTACT = "quetzal@elsewhere.example"
PHONE = "the phone of zuleika"


@dataclass
class Crew:
    """The user who is erased, and those who remain on the trips."""

    world: World
    zed: User
    ben: User
    eve: User
    mia: User  # invited only
    trip: UUID  # of zed, with ben as admin and eve
    alone: UUID  # of zed
    deleted: UUID  # of zed and ben
    bens: UUID  # of ben, with zed
    left: UUID  # of ben; zed left it
    streamed: Callable[[], Sequence[Event]] = lambda: ()  # the events that a stream has reported

    @property
    def words(self) -> Sequence[str]:
        """The ids, names and addresses of the user, in lower case."""
        return [str(self.zed.id), *self.names]

    @property
    def names(self) -> Sequence[str]:
        return ["zuleika", "quetzalcoatl", "quetzal@", "zed@example"]

    def members(self, trip: UUID) -> Sequence[User]:
        if trip == self.alone:
            return [self.zed]
        return [self.zed, self.ben, *([self.eve] if trip in (self.trip, self.bens) else [])]

    async def send(self, method: str, path: str, by: User, body: object = None, **how: Any) -> Any:
        """The reply to a successful request. Time goes on, so that no two things have one time."""
        self.world.clock.advance(1)
        reply = await self.world.call(method, path, by=by, body=body, **how)
        assert reply.status < 300, (method, path, reply.body)
        return reply.json if reply.body[:1] in (b"{", b"[") else None

    async def renew_tokens(self) -> None:
        """New access tokens, since time has passed."""
        self.zed = replace(self.zed, token=(await self.sign_in()).json["access_token"])
        for name in ("ben", "eve", "mia"):
            user = getattr(self, name)
            setattr(self, name, replace(user, token=await self.world.token(user.id, user.username)))

    async def sign_in(self) -> Answer:
        body = {"email": self.zed.email, "password": PASSWORD}
        return await self.world.call("POST", "/v1/auth/login", body=body, headers={"user-agent": PHONE})

    async def delete(self, **body: object) -> Answer:
        return await self.world.call("DELETE", "/v1/users/me", by=self.zed, body={"password": PASSWORD, **body})

    async def count(self, query: str, *params: object) -> int:
        async with self.world.pool.connection() as connection:
            return int(await connection.fetchval(query, *params))


async def crew_of(world: World, streamed: Callable[[], Sequence[Event]] = lambda: ()) -> Crew:
    """A user with data of every kind, on trips with others."""
    ports = world.ports
    account = await create_user(
        SignUp("zed@example.org", PASSWORD, "zuleika", *NAMES.values()),
        accounts=ports.accounts,
        limits=ports.limits,
        codes=ports.codes,
        new_id=ports.new_id,
        now=ports.clock(),
    )
    ben, eve, mia = [await world.user(name) for name in ("ben", "eve", "mia")]
    # Addresses that are invited before they have an account.
    early = await world.trip(ben, name="early")
    body = {"email": "zed@example.org", "role": "member"}
    signed_in = (
        await world.call(
            "POST",
            "/v1/auth/login",
            body={"email": "zed@example.org", "password": PASSWORD},
            headers={"user-agent": PHONE},
        )
    ).json
    zed = User(account.user_id, "zed@example.org", "zuleika", signed_in["access_token"])
    trips = {name: await world.trip(owner, name=name) for name, owner in
             (("trip", zed), ("alone", zed), ("deleted", zed), ("bens", ben), ("left", ben))}  # fmt: skip
    crew = Crew(world, zed, ben, eve, mia, **trips, streamed=streamed)
    await crew.send("POST", f"/v1/trips/{early}/invitations", ben, body)
    await world.join(crew.trip, zed, eve)
    world.clock.advance(60)
    await world.join(crew.trip, zed, ben, "ADMIN")
    await world.join(crew.deleted, zed, ben)
    await world.join(crew.bens, ben, zed)
    await world.join(crew.bens, ben, eve)
    await world.join(crew.left, ben, zed)
    for trip in trips.values():
        await crew.renew_tokens()
        await _live(crew, trip)
    await crew.renew_tokens()
    await _about_zed(crew)
    await crew.renew_tokens()
    await crew.send("DELETE", f"/v1/trips/{crew.left}/members/{zed.id}", crew.zed)
    await crew.send("DELETE", f"/v1/trips/{crew.deleted}", crew.zed)
    await deliver(crew)
    await crew.renew_tokens()
    return crew


async def _live(crew: Crew, trip: UUID) -> None:
    """Things of every kind on a trip, by zed; by ben, if he is on it."""
    zed, path = crew.zed, f"/v1/trips/{trip}"
    is_shared = trip != crew.alone
    todo = await crew.send("POST", f"{path}/todos", zed, {"text": "tickets"})
    await crew.send("PUT", f"{path}/todos/{todo['id']}", zed, {"assigneeId": str(zed.id)})
    message = await crew.send("POST", f"{path}/chat/messages", zed, {"message": "at nine"})
    await crew.send("PUT", f"{path}/chat/messages/{message['id']}", zed, {"content": "at ten"})
    await crew.send("POST", f"{path}/chat/messages/{message['id']}/reactions", zed, {"emoji": "👍"})
    await crew.send("PUT", f"{path}/chat/last-read", zed, {"last_message_id": message["id"]})
    for text in ("", "see", None):
        crew.world.clock.advance(31)  # until then, the same file would be a repeat
        upload = f"{path}/chat/attachments?name=a.jpg"
        file = await crew.send("POST", upload, zed, raw=PICTURE, headers={"content-type": "image/jpeg"})
        if text is not None:
            await crew.send("POST", f"{path}/chat/messages", zed, {"message": text, "attachmentId": file["id"]})
    poll = await crew.send("POST", f"{path}/polls", zed, {"question": "How?", "options": ["train", "bus"]})
    vote = {"optionId": poll["options"][0]["id"]}
    for voter in crew.members(trip):
        await crew.send("POST", f"{path}/polls/{poll['id']}/vote", voter, vote)
    await crew.send("POST", f"{path}/polls/{poll['id']}/close", zed)
    await crew.send("PUT", f"{path}/meeting-point", zed, {"latitude": 41.14, "longitude": -8.61, "name": "there"})
    form, type_ = image_form(PICTURE)
    await crew.send("POST", f"{path}/images", zed, raw=form, headers={"content-type": type_})
    for type_ in ("passport", "hotel_booking"):
        document = await crew.send(
            "POST",
            f"{path}/wallet/documents",
            zed,
            raw=document_form(documentType=type_, metadata={"guestName": "Zuleika Quetzalcoatl"}),
            headers=dict((FORM_DATA,)),
        )
    await crew.send("GET", f"/v1/wallet/documents/{document['id']}", zed, headers={"user-agent": PHONE})
    for place in ({"latitude": 41.0}, {"latitude": 41.15, "longitude": -8.61, "accuracy": 5}):
        crew.world.clock.advance(300)  # the time to travel to the destination
        now_ms = int(crew.world.clock().timestamp() * 1000)
        await crew.send("POST", f"{path}/locations", zed, POSITION | place | {"timestamp": now_ms})
    await crew.send("PUT", f"{path}/notification-preferences", zed, {"chat": "mentions"})
    await crew.send("POST", "/v1/calendars", zed, {"parts": ["todos"], "tripId": str(trip)})
    await crew.send("POST", f"{path}/invitations", zed if trip not in (crew.bens, crew.left) else crew.ben,
                    {"email": crew.mia.email, "role": "member"})  # fmt: skip
    if not is_shared:
        return
    await crew.renew_tokens()
    zed, ben = crew.zed, crew.ben
    message = await crew.send("POST", f"{path}/chat/messages", ben, {"message": "@Zuleika, and all?"})
    await crew.send("PUT", f"{path}/chat/messages/{message['id']}", ben, {"content": "Hey @zuleika!"})
    await crew.send("POST", f"{path}/todos", ben, {"text": "shoes", "assigneeId": str(zed.id)})
    await crew.send("GET", f"{path}/locations", ben)
    await crew.send("POST", f"{path}/locations", ben, POSITION | {"timestamp": now_ms})
    await crew.send("GET", f"{path}/locations", zed)
    document = await crew.send(
        "POST", f"{path}/wallet/documents", ben, raw=document_form(), headers=dict((FORM_DATA,))
    )
    await crew.send("GET", f"/v1/wallet/documents/{document['id']}", zed, headers={"user-agent": PHONE})
    poll = await crew.send("POST", f"{path}/polls", ben, {"question": "When?", "options": ["May", "June"],
                                                          "membersAddOptions": True})  # fmt: skip
    await crew.send("POST", f"{path}/polls/{poll['id']}/options", zed, {"text": "July"})


async def _about_zed(crew: Crew) -> None:
    """The user's own things, and rows that no route writes at once."""
    world, zed, ports = crew.world, crew.zed, crew.world.ports
    await crew.send("PUT", "/v1/users/me/contact-email", zed, {"email": CONTACT})
    await crew.send("POST", "/v1/users/push-token", zed, {"token": "ExponentPushToken[zed]", "deviceType": "ios"})
    form, type_ = image_form(PICTURE)
    await crew.send("POST", "/v1/users/me/avatar", zed, raw=form, headers={"content-type": type_})
    await crew.send(
        "POST", "/v1/wallet/documents", zed, raw=document_form(name="Zuleika"), headers=dict((FORM_DATA,))
    )
    await crew.send("POST", "/v1/calendars", zed, {"parts": ["trips"]})
    feedback = {"name": "Zuleika", "email": zed.email, "message": "It works well here."}
    await crew.send("POST", "/v1/feedback", zed, feedback)
    archive = zipped(TRIP)
    await crew.send("POST", "/v1/trips:import", zed, raw=archive, headers={"content-type": "application/zip"})
    await crew.send("POST", "/v1/trips:import:presign", zed, {"fileSize": len(archive)})
    await crew.send("PUT", f"/v1/users/{zed.id}", zed, {"bio": "?"}, headers={"idempotency-key": "one-key-of-zed"})
    await crew.send("POST", "/v1/auth/forgot-password", zed, {"email": zed.email})
    await ports.presence.connected(zed.id, "a socket", now=world.clock())
    async with world.pool.connection() as connection:
        now = world.clock()
        await connection.execute(
            "INSERT INTO trip_exports (id, trip_id, user_id, with_files, requested_at)"
            " VALUES (gen_random_uuid(), $1, $2, true, $3)", crew.bens, zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO registrations (id, email, username, first_name, last_name, password_hash, created_at,"
            " mailed_at, expires_at) VALUES ($1, 'zed@example.org', 'zuleika', 'Zuleika', '', '', $2, $2, $2)",
            zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO queue_jobs (id, queue, body, attempts, enqueued_at, visible_at, dead_at)"
            " VALUES (gen_random_uuid(), 'push', '{\"title\": \"Zuleika Quetzalcoatl\"}', 9, $1, $1, $1)", now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO waiting_push_tokens (user_id, token, id, device_type, created_at)"
            " VALUES ($1, 'waits', gen_random_uuid(), 'ios', $2)", zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO email_changes (user_id, id, email, email_key, former_email, mailed_at, expires_at)"
            " VALUES ($1, gen_random_uuid(), 'new.quetzal@x.example', 'new.quetzal@x.example',"
            " 'old.quetzal@x.example', $2, $2)", zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO identities (provider, subject, user_id, created_at) VALUES ('google', 'g1', $1, $2)",
            zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, created_at)"
            " VALUES (gen_random_uuid(), $1, 'c', 'k', 0, 'the phone of Zuleika', $2)", zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO api_keys (id, user_id, hash, name, writes, created_at, expires_at)"
            " VALUES (gen_random_uuid(), $1, sha256('k'), 'the script of Zuleika', false, $2, $2)", zed.id, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO webhooks (id, trip_id, url, events, is_enabled, created_by, created_at)"
            " SELECT gen_random_uuid(), trip_id, 'https://hooks.example.org/', '{TODO_CREATED}', true, user_id, $2"
            " FROM trip_memberships WHERE user_id = $1 LIMIT 1", zed.id, now,
        )  # fmt: skip
        await connection.execute("INSERT INTO last_seen (user_id, seen_at) VALUES ($1, $2)", zed.id, now)
        await connection.execute(
            "INSERT INTO mails_sent (event_id, recipient, sent_at)"
            " SELECT gen_random_uuid(), recipient, $2 FROM unnest($1::text[]) AS recipient",
            [CONTACT, "new.quetzal@x.example"],
            now,
        )


async def deliver(crew: Crew) -> None:
    """Publish the stored events, and run the jobs that they cause."""
    await crew.world.ports.events.record(crew.streamed())
    await PostgresOutbox(crew.world.pool).publish(limit=10_000, now=crew.world.clock())
    for queue in (NOTIFICATIONS, EMAIL):
        while jobs := await crew.world.ports.queue.receive(queue, limit=100, visibility_s=60):
            for job in jobs:
                await CONSUMERS[queue](job, crew.world.ports)
                await crew.world.ports.queue.ack(job)


async def rows_with(world: World, words: Sequence[str]) -> list[str]:
    """The tables with a row that contains one of the words in any column, also in JSON and in bytes."""
    patterns = [f"%{spelling}%" for word in words for spelling in _spellings(word)]
    async with world.pool.connection() as connection:
        tables = await connection.fetch(
            "SELECT format('%I', c.relname) AS name FROM pg_class c"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        found = []
        for [table] in tables:
            rows = await connection.fetch(
                f"SELECT t::text FROM {table} t WHERE t::text ILIKE ANY($1)",
                patterns,
            )
            found += [f"{table}: {row[0]}" for row in rows]
        return found


def _spellings(word: str) -> Iterator[str]:
    yield word
    yield word.encode().hex()
    try:
        yield UUID(word).hex
    except ValueError:
        return


async def unfilled(world: World, user_id: UserId) -> list[str]:
    """The columns that refer to users, but to this one in no row."""
    async with world.pool.connection() as connection:
        columns = await connection.fetch(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c"
            " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
            " WHERE c.contype = 'f' AND c.confrelid IN ('user_profiles'::regclass, 'accounts'::regclass)"
            " ORDER BY 1, 2"
        )
        return [
            f"{table}.{column}" for table, column in columns
            if not await connection.fetchval(
                f"SELECT EXISTS (SELECT FROM {table} WHERE {column} = $1)", user_id
            )
        ]  # fmt: skip


def files_with(folder: Path, words: Sequence[str]) -> list[str]:
    """The files whose name or content has one of the words."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and any(
            word in str(path.relative_to(folder)).lower() or word.encode() in path.read_bytes().lower()
            for word in words
        )
    ]

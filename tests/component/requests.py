"""A valid request for every row of the route table, and the scene that it needs."""

import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from nomadcrew.core.auth import administration
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.auth.model import REFRESH_LIFETIME, Account, Session
from nomadcrew.core.erasure.model import Erasure
from nomadcrew.core.ids import EventId, InvitationId, SessionId, TripId
from nomadcrew.core.notifications.model import Draft, Notice
from nomadcrew.core.notifications.preferences import Kind
from tests.archives import TRIP as ARCHIVED
from tests.archives import zipped
from tests.gazetteer import load_towns
from tests.sample_files import JPEG_OF_A_PHONE as PICTURE
from tests.sample_files import PDF
from tests.world import NEW_TRIP, User, World

CALLERS = ("no token", "wrong kind", "outsider", "invitee", "MEMBER", "ADMIN", "OWNER", "removed")
NIGHT = {"start": "22:00", "end": "07:00", "timeZone": "Europe/Lisbon"}
PASSWORD = "Under-the-bridge-7"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send; `by` None sends no token."""

    method: str
    path: str
    by: User | None
    body: object = None
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Scene:
    """A trip, and users in every relation to it."""

    world: World
    tag: str
    trip: UUID
    elsewhere: UUID
    people: dict[str, User]
    invitation: UUID
    foreign_invitation: UUID
    link: str
    todos: dict[str, UUID]

    def caller(self, name: str) -> User | None:
        if name == "no token":
            return None
        if name == "wrong kind":  # a valid token of ours that is not an access token: an invitation's link
            owner = self.people["OWNER"]
            return User(owner.id, owner.email, owner.username, self.link)
        return self.people[name]


async def scene(world: World, tag: str) -> Scene:
    """Create the scene: OWNER, two ADMINs, two MEMBERs, and a removed, an invited and an outside user."""
    names = ("OWNER", "ADMIN", "MEMBER", "another admin", "another member", "removed", "invitee", "outsider")
    people = {name: await world.user(f"{name.lower().replace(' ', '-')}-{tag}") for name in names}
    owner = people["OWNER"]
    trip = await world.trip(owner)
    for name in names[1:6]:
        await world.join(trip, owner, people[name], "ADMIN" if "admin" in name.lower() else "MEMBER")
    todos = {}
    for name in ("OWNER", "ADMIN", "MEMBER", "another member", "removed"):
        path = f"/v1/trips/{trip}/todos"
        todos[name] = UUID((await world.call("POST", path, by=people[name], body={"text": name})).json["id"])
    await world.call("DELETE", f"/v1/trips/{trip}/members/{people['removed'].id}", by=owner)
    elsewhere = await world.trip(owner, name="elsewhere")
    invitation = await _invite(world, trip, owner, people["invitee"].email)
    foreign = await _invite(world, elsewhere, owner, people["invitee"].email)
    link = await _link(world, invitation)
    return Scene(world, tag, trip, elsewhere, people, invitation, foreign, link, todos)


async def stranger_link(stage: Scene) -> str:
    """The link of an invitation to an address without an account."""
    email = f"stranger-{stage.tag}@example.org"
    return await _link(stage.world, await _invite(stage.world, stage.trip, stage.people["OWNER"], email))


async def _link(world: World, invitation: UUID) -> str:
    stored = await world.ports.invitations.get_for_mail(InvitationId(invitation))
    assert stored is not None
    return world.ports.invitation_links.issue(stored[0], now=world.clock())


async def _invite(world: World, trip: UUID, owner: User, email: str) -> UUID:
    body = {"email": email, "role": "member"}
    return UUID((await world.call("POST", f"/v1/trips/{trip}/invitations", by=owner, body=body)).json["id"])


async def ask(stage: Scene, row: str, variant: str, caller: str) -> Ask:
    """The request of a row of the matrix."""
    method, _, path = row.partition(" ")
    by = stage.caller(caller)
    me = stage.people.get(caller, stage.people["outsider"])
    path = path.replace("{id}", str(stage.trip))
    path = path.replace("{userId}", str(_target(stage, variant, me)))
    path = path.replace(
        "{invitationId}", str(stage.foreign_invitation if variant == "of another trip" else stage.invitation)
    )
    path = path.replace("{todoId}", str(_todo(stage, variant, caller)))
    option = ""
    if "{pollId}" in path:
        poll, option = await _poll(stage, row, variant, me)
        path = path.replace("{pollId}", poll).replace("{optionId}", option)
    if "{messageId}" in path:
        path = path.replace("{messageId}", str(await _message(stage, variant, caller)))
    path = (
        path.replace("{emoji}", "%F0%9F%91%8D")
        .replace("{provider}", "google")
        .replace("{passkeyId}", str(stage.trip))
    )
    await _load(stage, path)
    if "{notificationId}" in path:
        whose = me if variant == "my own" else stage.people["another member"]
        path = path.replace("{notificationId}", str(await notification(stage.world, stage.trip, whose)))
    if "{token}" in path and "/wallet/" not in path:
        token = "no-code" if "/auth/" in path or "/confirm" in path else await stranger_link(stage)
        path = path.replace("{token}", token)
    path = await _of_user(stage, row, variant, me, path)
    if "location" in row or "meeting-point" in row:
        await _locate(stage, row, variant, me)
    if "{attachmentId}" in path:
        path = path.replace("{attachmentId}", str(await _attachment(stage)))
    if "/wallet/" in row or "image" in row or "avatar" in row or "trips:import" in row:
        return await _of_files(stage, row, variant, caller, path)
    if row == "POST /v1/trips/{id}/chat/attachments":
        return Ask(method, path, by, raw=PICTURE, headers=(("content-type", "image/jpeg"),))
    body = _ballot(row, option) or await _body(stage, row, variant, me)
    if row == "POST /invite/accept/{token}":
        form = {"intent": "register", "username": f"new-{stage.tag}", "password": PASSWORD}
        return Ask(method, path, by, raw=urlencode(form).encode(), headers=(FORM,))
    return Ask(method, path + _query(stage, row), by, body)


async def _of_user(stage: Scene, row: str, variant: str, me: User, path: str) -> str:
    """The path with the id of a session, API key or webhook, or with the id or link of a calendar.

    The session, key, webhook or calendar is created.
    """
    if "{webhookId}" in path:
        return path.replace("{webhookId}", await _webhook(stage, variant))
    owner = me if variant == "my own" else stage.people["another member"]
    if "{sessionId}" in path:
        return path.replace("{sessionId}", str(await _session(stage, owner)))
    if "{keyId}" in path:
        body = {"name": f"key {stage.world.ports.new_id()}", "scope": "read"}
        made = (await stage.world.call("POST", "/v1/auth/keys", by=owner, body=body)).json
        return path.replace("{keyId}", made["id"])
    if "/v1/calendars/" not in path:
        return path
    made = (await stage.world.call("POST", "/v1/calendars", by=owner, body={"parts": ["trips"]})).json
    return path.replace("{calendar}", made["id"] if row.startswith("DELETE") else made["url"].rpartition("/")[2])


async def _webhook(stage: Scene, variant: str) -> str:
    """A webhook of the trip, or of another one, with a delivery that failed."""
    world, trip = stage.world, stage.elsewhere if variant == "of another trip" else stage.trip
    webhook, now = world.ports.new_id(), world.clock()
    async with world.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO webhooks (id, trip_id, url, events, is_enabled, created_at)"
            " VALUES ($1, $2, $3, '{TODO_CREATED}', true, $4)",
            webhook, trip, f"https://hooks.example.org/{webhook}", now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO webhook_deliveries (id, webhook_id, event_id, event_type, created_at, status, attempts,"
            " attempted_at, reply_status, duration_ms)"
            " VALUES ($1, $2, $3, 'TODO_CREATED', $4, 'failed', 11, $4, 500, 87)",
            world.ports.new_id(), webhook, world.ports.new_id(), now,
        )  # fmt: skip
    return str(webhook)


async def _load(stage: Scene, path: str) -> None:
    """Load what the server has before a typical request: the weather in memory, and the list of places."""
    if "weather" in path:
        await stage.world.call("GET", f"/v1/trips/{stage.trip}/weather", by=stage.people["OWNER"])
    if "places" in path:
        await load_towns(stage.world.pool)


async def _locate(stage: Scene, row: str, variant: str, me: User) -> None:
    """Create the position or the meeting point that the request needs."""
    world, trip = stage.world, stage.trip
    if variant == "everywhere":
        path = f"/v1/trips/{await world.trip(me, name='shared')}/locations"
        assert (await world.call("POST", path, by=me, body=POSITION)).status == 201
    elif row.endswith("meeting-point"):
        if not row.startswith("PUT"):
            path = f"/v1/trips/{trip}/meeting-point"
            assert (await world.call("PUT", path, by=stage.people["OWNER"], body=MEETING_POINT)).status == 200
    elif row.startswith("GET"):
        path = f"/v1/trips/{trip}/locations"
        assert (await world.call("POST", path, by=stage.people["another member"], body=POSITION)).status == 201


# Away from the trip's destination, at the time of the test's clock.
POSITION = {"latitude": 40.2, "longitude": -8.4, "accuracy": None, "timestamp": 1_795_348_800_000}
MEETING_POINT = {"latitude": 41.14, "longitude": -8.61, "name": "the bridge"}
FORM = ("content-type", "application/x-www-form-urlencoded")


def _target(stage: Scene, variant: str, me: User) -> UUID:
    people = stage.people
    match variant.split(" becomes ")[0]:
        case "a member":
            return people["another member"].id
        case "an admin":
            return people["another admin"].id
        case "the owner":
            return people["OWNER"].id
        case "a stranger" | "another":
            return people["outsider"].id if me is not people["outsider"] else people["OWNER"].id
        case _:
            return me.id


def _todo(stage: Scene, variant: str, caller: str) -> UUID:
    own = stage.todos.get(caller, stage.todos["OWNER"])
    return own if variant == "my own" else stage.todos["another member"]


def _query(stage: Scene, row: str) -> str:
    match row:
        case "GET /v1/invitations/join" | "GET /v1/invitations/details":
            return f"?token={stage.link}"
        case "GET /v1/places/suggest":
            return "?q=po&near=41.15,-8.61"
        case "GET /v1/places/reverse":
            return "?lat=41.15&lon=-8.61"
        case "GET /v1/users/search":
            return f"?q=member&tripId={stage.trip}"
        case "GET /v1/trips/{id}/locations/track":
            return f"?user={stage.people['another member'].id}"
        case "GET /v1/trips/{id}/find":
            return "?q=member"
        case "GET /v1/trips/{id}/todos" | "GET /v1/trips/{id}/polls" | "GET /v1/notifications" | "GET /v1/events":
            return "?limit=2"
        case "GET /v1/sync":
            return f"?trips={stage.trip}&limit=2"
        case _:
            return ""


async def _body(stage: Scene, row: str, variant: str, me: User) -> Any:  # noqa: C901 — a table of bodies
    match row:
        case "POST /v1/trips":
            return NEW_TRIP | {"name": f"by {me.username}"}
        case "PUT /v1/trips/{id}":
            return {"name": f"renamed by {me.username}", "destination": {"coordinates": {"lat": 1.5, "lng": 2}}}
        case "PATCH /v1/trips/{id}/status":
            return {"status": "ACTIVE"}
        case "POST /v1/trips/{id}/search":
            return {"destination": "porto"}
        case "POST /v1/trips/{id}/members":
            return {"userId": str(stage.people["outsider"].id), "role": "owner" if variant else "member"}
        case "PUT /v1/trips/{id}/members/{userId}/role":
            return {"role": variant.partition(" becomes ")[2] or "member"}
        case "POST /v1/trips/{id}/invitations":
            return {"email": f"guest-{stage.tag}@example.org", "role": variant.removeprefix("as ") or "member"}
        case "POST /v1/invitations/accept" | "POST /v1/invitations/decline":
            return {"token": stage.link}
        case "POST /v1/trips/{id}/todos":
            return {"text": f"by {me.username}"}
        case "PUT /v1/trips/{id}/todos/{todoId}":
            return {"status": "COMPLETE"}
        case "POST /v1/calendars":
            return {"parts": ["todos"]} | ({"tripId": str(stage.trip)} if variant else {})
        case "POST /v1/trips/{id}/webhooks":
            return {"url": f"https://hooks.example.org/{stage.tag}", "events": ["TODO_CREATED", "POLL_CLOSED"]}
        case "PUT /v1/trips/{id}/webhooks/{webhookId}":
            return {"events": ["CHAT_MESSAGE_SENT"]}
        case "POST /v1/trips/{id}/webhooks/{webhookId}/deliveries:redeliver":
            return {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}
        case "POST /v1/auth/keys":
            return {"name": "script", "scope": "write"} | ({"tripIds": [str(stage.trip)]} if variant else {})
        case "POST /v1/trips/{id}/polls":
            return {"question": f"by {me.username}?", "options": ["by train", "by bus"]}
        case "PUT /v1/trips/{id}/polls/{pollId}":
            return {"question": "And how do we get there?"}
        case "POST /v1/trips/{id}/polls/{pollId}/options":
            return {"text": "by boat"}
        case "POST /v1/trips/{id}/polls/{pollId}/apply":
            return {"to": "dates" if variant.endswith("dates") else "todo"}
        case "POST /v1/trips/{id}/chat/messages":
            return {"message": f"by {me.username}"}
        case "PUT /v1/trips/{id}/chat/messages/{messageId}":
            return {"content": "as I meant it"}
        case "POST /v1/trips/{id}/chat/messages/{messageId}/reactions":
            return {"emoji": "👍"}
        case (
            "PUT /v1/trips/{id}/chat/messages/read"
            | "POST /v1/trips/{id}/chat/messages/read"
            | "PUT /v1/trips/{id}/chat/last-read"
        ):
            return {"message_id": str(await _message(stage, "another's", "OWNER"))}
        case "PUT /v1/users/me/contact-email":
            return {"email": f"contact-{stage.tag}@example.org"}
        case "PUT /v1/users/{userId}":
            return {"firstName": "Renamed", "locationPrivacyPreference": "hidden"}
        case "PUT /v1/users/{userId}/preferences":
            return {"ghostMode": True}
        case "POST /v1/users/push-token":
            return {"token": f"ExponentPushToken[{me.username}-{stage.tag}]", "deviceType": "ios"}
        case "DELETE /v1/users/push-token":
            return {"token": f"ExponentPushToken[{me.username}-{stage.tag}]"}
        case "PUT /v1/notifications/preferences":
            return {"push": False, "chat": "mentions", "quietHours": NIGHT}
        case "PUT /v1/trips/{id}/notification-preferences":
            return {"mutedUntil": "2026-12-24T18:00:00Z", "chat": "none"}
        case "POST /v1/trips/{id}/locations" | "PUT /v1/trips/{id}/locations" | "POST /v1/location/update":
            return POSITION | ({"tripId": str(stage.trip)} if variant == "on a trip" else {})
        case "POST /v1/trips/{id}/locations:batch":
            return {"locations": [POSITION]}
        case "PUT /v1/location/preferences":
            if variant == "for all trips":
                return {"locationPrivacyPreference": "approximate"}
            return {"tripId": str(stage.trip), "isSharingEnabled": True, "privacy": "approximate"}
        case "PUT /v1/trips/{id}/meeting-point":
            return MEETING_POINT
        case "POST /v1/auth/register":
            return {"email": f"fresh-{stage.tag}@example.org", "password": PASSWORD}
        case "POST /v1/auth/login":
            return {"email": await account(stage), "password": PASSWORD}
        case "POST /v1/auth/refresh" | "POST /v1/auth/logout":
            login = {"email": await account(stage), "password": PASSWORD}
            reply = await stage.world.call("POST", "/v1/auth/login", body=login)
            return {"refresh_token": reply.json["refresh_token"]}
        case "POST /v1/feedback":
            return {"name": "Ana", "email": "ana@example.org", "message": f"It works well, {stage.tag}."}
        case "POST /v1/auth/resend" | "POST /v1/auth/forgot-password":
            return {"email": f"account-{stage.tag}@example.org"}
        case "POST /v1/auth/reset-password":
            return {"token": "no-code", "password": PASSWORD}
        case "DELETE /v1/users/me":
            return {"password": PASSWORD}
        case "POST /v1/privacy/receipts:verify":
            erasure = Erasure(me.id, stage.world.clock(), {"profiles": 1})
            return {"receipt": stage.world.ports.erasure_receipts.issue(erasure)}
        case "POST /v1/auth/change-password":
            return {"password": PASSWORD, "new_password": f"{PASSWORD}-new"}
        case "POST /v1/auth/change-email":
            return {"email": f"new-{stage.tag}@example.org", "password": PASSWORD}
        case "POST /v1/auth/change-email/confirm":
            return {"token": "no-code"}
        case "POST /v1/auth/passkeys/sign-in":
            return {"credential": {}}
        case "POST /v1/auth/passkeys":
            return {"name": "My phone", "credential": {}}
        case "PATCH /v1/auth/passkeys/{passkeyId}":
            return {"name": "My phone"}
        case "POST /v1/auth/identities/sign-in":
            return {"provider": "google", "id_token": "no-token", "nonce": "no-nonce"}
        case "POST /v1/auth/identities":
            return {"provider": "google", "id_token": "no-token", "nonce": "no-nonce", "password": PASSWORD}
        case "POST /v1/auth/mfa/totp" | "POST /v1/auth/passkeys/options":
            return {"password": PASSWORD}
        case "POST /v1/auth/mfa/totp/confirm" | "DELETE /v1/auth/mfa/totp":
            return {"code": "123456"}
        case "POST /v1/auth/mfa/verify":
            return {"mfa_token": "no-token", "code": "123456"}
        case "POST /v1/auth/confirm":
            return {"token": "no-code", "password": PASSWORD}
        case _:
            return None


def _ballot(row: str, option: str) -> Any:
    if row.endswith("/vote"):
        return {"optionId": option}
    return {"answers": [{"optionId": option, "answer": "ifNeedBe"}]} if row.endswith("/ballot") else None


async def _poll(stage: Scene, row: str, variant: str, me: User) -> tuple[str, str]:
    """A poll of the caller, if the caller may create one, else of another member; and its first option.

    To be closed, it has the votes of all members, and to be applied it is closed; to withdraw a vote, it has the
    caller's.
    """
    crew = [stage.people[name] for name in ("OWNER", "ADMIN", "MEMBER", "another admin", "another member")]
    author = me if variant.startswith("my own") and me in crew else stage.people["another member"]
    path, world = f"/v1/trips/{stage.trip}/polls", stage.world
    about_dates = row.endswith("/ballot") or variant.endswith("dates")
    # The same poll within half a minute would be a repeat.
    fresh = {"question": f"When or how, {world.ports.new_id()}?"}
    poll = (await world.call("POST", path, by=author, body=(DATES if about_dates else MODES) | fresh)).json
    option, path = poll["options"][0]["id"], f"{path}/{poll['id']}"
    everyone = row.endswith(("/close", "/apply"))
    voters = crew if everyone else [me] if "{optionId}" in row and me in crew else []
    for voter in voters:
        reply = await world.call("POST", f"{path}/vote", by=voter, body={"optionId": option})
        assert reply.status == 200, reply.body
    if row.endswith("/apply"):
        assert (await world.call("POST", f"{path}/close", by=author)).status == 200
    return poll["id"], option


MODES = {"question": "How?", "options": ["by train", "by bus"], "membersAddOptions": True}
DATES = {
    "question": "When?",
    "kind": "dates",
    "days": [{"firstDay": "2026-12-01", "lastDay": "2026-12-05"}, {"firstDay": "2026-12-24"}],
}


async def _message(stage: Scene, variant: str, caller: str) -> UUID:
    """A message of the caller, if the caller may write; else of another member."""
    own = variant == "my own" and caller in ("OWNER", "ADMIN", "MEMBER")
    author = stage.people[caller if own else "another member"]
    path, body = f"/v1/trips/{stage.trip}/chat/messages", {"message": f"by {author.username}"}
    return UUID((await stage.world.call("POST", path, by=author, body=body)).json["id"])


async def _session(stage: Scene, whose: User) -> SessionId:
    """A session on another device."""
    ports, now = stage.world.ports, stage.world.clock()
    account = Account(await ports.profiles.get(whose.id, whose.id))
    session = Session(SessionId(ports.new_id()), account, now + REFRESH_LIFETIME)
    await ports.sessions.open(session, secrets.token_bytes(32), now=now)
    return session.id


async def _attachment(stage: Scene) -> UUID:
    """A file in another member's message."""
    path, author = f"/v1/trips/{stage.trip}/chat", stage.people["another member"]
    sent = await stage.world.call("POST", f"{path}/attachments", by=author, raw=PICTURE)
    body = {"attachmentId": sent.json["id"]}
    assert (await stage.world.call("POST", f"{path}/messages", by=author, body=body)).status == 201
    return UUID(sent.json["id"])


NEW_DOCUMENT = {"documentType": "passport", "name": "Passport", "metadata": {"expiryDate": "2027-05-01"}}
BOUNDARY = "a-boundary"


def document_form(file: bytes = PDF, **metadata: object) -> bytes:
    """A form as the shipped app sends it."""
    texts = json.dumps(NEW_DOCUMENT | metadata).encode()
    return b"".join(
        (
            f"--{BOUNDARY}\r\n".encode(),
            b'content-disposition: form-data; name="file"; filename="scan.pdf"\r\n',
            b"content-type: application/octet-stream\r\n\r\n", file, b"\r\n",
            f"--{BOUNDARY}\r\n".encode(),
            b'content-disposition: form-data; name="metadata"\r\n\r\n', texts, b"\r\n",
            f"--{BOUNDARY}--\r\n".encode(),
        )
    )  # fmt: skip


FORM_DATA = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")


def image_form(content: bytes, *, name: str = "image") -> tuple[bytes, str]:
    """A form with a picture, and its content type."""
    head = f'content-disposition: form-data; name="{name}"; filename="IMG_1.jpg"\r\n\r\n'.encode()
    body = b"".join((f"--{BOUNDARY}\r\n".encode(), head, content, f"\r\n--{BOUNDARY}--\r\n".encode()))
    return body, FORM_DATA[1]


async def _of_files(stage: Scene, row: str, variant: str, caller: str, path: str) -> Ask:
    if "trips:import" in row:
        return await _of_import(stage, row, stage.people.get(caller) or stage.people["OWNER"], stage.caller(caller))
    about = _of_wallet if "/wallet/" in row else _of_album
    return await about(stage, row, variant, caller, path)


async def _of_album(stage: Scene, row: str, variant: str, caller: str, path: str) -> Ask:
    """A request on photos, or on the avatar of another member."""
    by = stage.caller(caller)
    if row in ("POST /v1/trips/{id}/images", "POST /v1/users/me/avatar"):
        form, type_ = image_form(PICTURE)
        return Ask("POST", path, by, raw=form, headers=(("content-type", type_),))
    if row.endswith(":presign"):
        return Ask("POST", path, by, {"mimeType": "image/jpeg", "fileSize": len(PICTURE)})
    if row.endswith(":complete"):
        may_add = caller in ("OWNER", "ADMIN", "MEMBER")
        author = stage.people[caller if may_add else "another member"]
        return Ask("POST", path, by, {"id": await _reserved_photo(stage, author)})
    if "{imageId}" in path:
        own = variant == "my own" and caller in ("OWNER", "ADMIN", "MEMBER")
        author = stage.people[caller if own else "another member"]
        sent = await _sent_picture(stage, f"/v1/trips/{stage.trip}/images", author)
        path = path.replace("{imageId}", sent["id"])
    if "{avatarId}" in path:
        sent = await _sent_picture(stage, "/v1/users/me/avatar", stage.people["another member"])
        path = path.replace("{avatarId}", sent["avatarUrl"].rpartition("/")[2])
    return Ask(row.partition(" ")[0], path, by)


async def _sent_picture(stage: Scene, path: str, author: User) -> dict[str, Any]:
    form, type_ = image_form(PICTURE)
    reply = await stage.world.call("POST", path, by=author, raw=form, headers={"content-type": type_})
    assert reply.status < 300, reply.body
    return dict(reply.json)


async def _reserved_photo(stage: Scene, author: User) -> str:
    """A photo that is reserved, with its file in the store."""
    body = {"mimeType": "image/jpeg", "fileSize": len(PICTURE)}
    path = f"/v1/trips/{stage.trip}/images:presign"
    reply = await stage.world.call("POST", path, by=author, body=body)
    assert reply.status == 201, reply.body
    upload = reply.json["upload"]
    assert (await stage.world.call(upload["method"], upload["url"], raw=PICTURE)).status == 204
    return str(reply.json["id"])


async def _of_wallet(stage: Scene, row: str, variant: str, caller: str, path: str) -> Ask:
    """A request on documents. Those of the variant are the caller's own, or another member's in a trip's wallet."""
    by = stage.caller(caller)
    if row in ("POST /v1/wallet/documents", "POST /v1/trips/{id}/wallet/documents"):
        return Ask("POST", path, by, raw=document_form(), headers=(FORM_DATA,))
    if row.endswith(":presign"):
        body = NEW_DOCUMENT | {"mimeType": "application/pdf", "fileSize": len(PDF)}
        return Ask("POST", path, by, body)
    if row.endswith(":complete"):
        return Ask(
            "POST", path, by, {"id": await _reserved(stage, stage.people.get(caller) or stage.people["OWNER"])}
        )
    document = await _document(stage, variant, caller) if "{documentId}" in path or "{token}" in path else {}
    path = path.replace("{documentId}", str(document.get("id"))).replace(
        "{token}", str(document.get("downloadUrl"))
    )
    return Ask(row.partition(" ")[0], path, by, {"name": "Renamed"} if row.startswith("PUT") else None)


async def _of_import(stage: Scene, row: str, author: User, by: User | None) -> Ask:
    """A request that imports an archive, or prepares it."""
    path, archive = row.removeprefix("POST "), zipped(ARCHIVED)
    if row.endswith(":import"):
        return Ask("POST", path, by, raw=archive, headers=(("content-type", "application/zip"),))
    body = {"fileSize": len(archive)}
    if row.endswith(":presign"):
        return Ask("POST", path, by, body)
    reserved = (await stage.world.call("POST", "/v1/trips:import:presign", by=author, body=body)).json
    upload = reserved["upload"]
    assert (await stage.world.call(upload["method"], upload["url"], raw=archive)).status == 204
    return Ask("POST", path, by, {"id": reserved["id"]})


async def _document(stage: Scene, variant: str, caller: str) -> dict[str, Any]:
    """A document in the wallet that the variant names."""
    own = variant == "my own" and caller in stage.people
    author = stage.people[caller if own else "another member"]
    path = f"/v1/trips/{stage.trip}/wallet/documents" if variant == "of the trip" else "/v1/wallet/documents"
    reply = await stage.world.call("POST", path, by=author, raw=document_form(), headers=dict((FORM_DATA,)))
    assert reply.status == 201, reply.body
    return dict(reply.json)


async def _reserved(stage: Scene, author: User) -> str:
    """A document that is reserved, with its file in the store."""
    body = NEW_DOCUMENT | {"mimeType": "application/pdf", "fileSize": len(PDF)}
    reply = await stage.world.call("POST", "/v1/wallet/documents:presign", by=author, body=body)
    assert reply.status == 201, reply.body
    upload = reply.json["upload"]
    assert (await stage.world.call(upload["method"], upload["url"], raw=PDF)).status == 204
    return str(reply.json["id"])


async def account(stage: Scene) -> str:
    """Create an account with the password PASSWORD. Returns its email address."""
    ports, email = stage.world.ports, f"account-{stage.tag}@example.org"
    await administration.create_user(
        SignUp(email=email, password=PASSWORD),
        accounts=ports.accounts,
        limits=ports.limits,
        codes=ports.codes,
        new_id=ports.new_id,
        now=ports.clock(),
    )
    return email


async def notification(world: World, trip: UUID, whose: User) -> UUID:
    metadata = {"tripName": "Porto", "changedFields": []}
    notice = Notice(Kind.TRIP, "TRIP_UPDATED", metadata, [whose.id])
    draft = Draft.of(EventId(world.ports.new_id()), whose.id, notice)
    assert (
        await world.ports.notifications.store(TripId(trip), [draft], caused_at=world.clock(), now=world.clock())
        == 1
    )
    return draft.id


def encoded(request: Ask) -> bytes:
    if request.raw is not None:
        return request.raw
    return b"" if request.body is None else json.dumps(request.body).encode()

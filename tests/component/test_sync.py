"""`GET /v1/sync`: a copy that only synchronises equals what the lists return."""

from typing import Any
from uuid import UUID

from tests.synced import SyncedCopy, read_everything, without_links
from tests.world import User, World


async def _same(copy: SyncedCopy) -> None:
    await copy.sync()
    copied, read = without_links(copy.entities), without_links(await read_everything(copy.here, copy.user))
    copied = {key: one for key, one in copied.items() if key[0] not in ("sharing", "tripPreferences")}
    assert copied == read


async def _todo(here: World, trip: UUID, by: User, text: str = "pack", **fields: Any) -> str:
    reply = await here.call("POST", f"/v1/trips/{trip}/todos", by=by, body={"text": text, **fields})
    assert reply.status == 201, reply.body
    return str(reply.json["id"])


async def _message(here: World, trip: UUID, by: User, text: str) -> str:
    reply = await here.call("POST", f"/v1/trips/{trip}/chat/messages", by=by, body={"message": text})
    assert reply.status == 201, reply.body
    return str(reply.json["id"])


async def _crew(here: World) -> tuple[User, User, UUID]:
    ana, ben = await here.user("ana"), await here.user("ben")
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    return ana, ben, trip


async def test_a_copy_that_synchronises_equals_the_lists(here: World) -> None:
    ana, ben, trip = await _crew(here)
    base = f"/v1/trips/{trip}"
    copies = [SyncedCopy(here, ana, limit=3), SyncedCopy(here, ben)]
    for copy in copies:
        await _same(copy)
    todo = await _todo(here, trip, ana, assigneeId=str(ben.id), position=1.5, dueAt="2026-12-02T10:00:00Z")
    message = await _message(here, trip, ben, "train at nine")
    await here.call("POST", f"{base}/chat/messages/{message}/reactions", by=ana, body={"emoji": "👍"})
    await here.call("PUT", f"{base}/chat/last-read", by=ana, body={"lastReadMessageId": message})
    poll = await here.call("POST", f"{base}/polls", by=ana, body={"question": "when?", "options": ["now", "later"]})
    option = poll.json["options"][0]["id"]
    await here.call("POST", f"{base}/polls/{poll.json['id']}/vote", by=ben, body={"optionId": option})
    await here.call("POST", f"{base}/invitations", by=ana, body={"email": "eva@example.org", "role": "MEMBER"})
    for copy in copies:
        await _same(copy)
    assert ("todo", str(trip), todo) in copies[1].entities
    await here.call("PUT", f"{base}/todos/{todo}", by=ana, body={"status": "COMPLETE"})
    await here.call("DELETE", f"{base}/chat/messages/{message}", by=ben)
    await here.call("PUT", f"/v1/users/{ben.id}", by=ben, body={"firstName": "Benedict"})
    for copy in copies:
        await _same(copy)
        await _same(copy)
        assert copy.changes == []

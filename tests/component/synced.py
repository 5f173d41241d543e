"""A client's copy of all that its user sees: by synchronising, and by reading every list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.component.requests import FORM_DATA, document_form, image_form
from tests.photos import photo
from tests.sample_files import PDF
from tests.world import User, World

Entity = tuple[str, str, str]  # kind, trip (empty for the user's own), id
PAGE = 100


@dataclass
class SyncedCopy:
    """A client that only synchronises."""

    here: World
    user: User
    limit: int = 50
    on_aws: bool = False
    cursor: str = ""
    entities: dict[Entity, Any] = field(default_factory=dict)
    etags: dict[Entity, str] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)  # of the last run

    async def sync(self) -> "SyncedCopy":
        self.changes.clear()
        while await self.page():
            pass
        return self

    async def page(self) -> bool:
        """Get one page; True if more follow."""
        since = f"&since={self.cursor}" if self.cursor else ""
        send = self.here.invoke if self.on_aws else self.here.call
        reply = await send("GET", f"/v1/sync?limit={self.limit}{since}", by=self.user)
        if reply.status == 410:
            self.entities.clear()
            self.cursor = ""
            return True
        assert reply.status == 200, reply.body
        self.changes += reply.json["changes"]
        for change in reply.json["changes"]:
            self._apply(change)
        self.cursor = reply.json["cursor"]
        return bool(reply.json["hasMore"])

    def _apply(self, change: Mapping[str, Any]) -> None:
        kind, trip, id_ = change["kind"], change.get("tripId", ""), change["id"]
        if not change.get("deleted"):
            self.entities[kind, trip, id_] = change["data"]
            self.etags[kind, trip, id_] = change.get("etag", "")
            if "reactions" in change:
                self.entities["reactions", trip, id_] = change["reactions"]
        elif kind == "trip":
            self.entities = {key: entity for key, entity in self.entities.items() if key[1] != trip}
        else:
            self.entities.pop((kind, trip, id_), None)


async def read_everything(here: World, user: User) -> dict[Entity, Any]:
    """All entities by the lists of their routes, page by page."""
    me = await _get(here, user, "/v1/users/me")
    found: dict[Entity, Any] = {
        ("profile", "", str(user.id)): me,
        ("preferences", "", str(user.id)): await _get(here, user, "/v1/notifications/preferences"),
    }
    found |= {("notification", "", one["id"]): one for one in await _listed(here, user, "/v1/notifications")}
    own = await _listed(here, user, "/v1/wallet/documents")
    found |= {("document", "", one["id"]): one for one in own}
    trips = await _listed(here, user, "/v1/trips")
    for trip in trips:
        found["trip", trip["id"], trip["id"]] = trip
        found |= await _read_trip(here, user, trip["id"])
    return found


async def _read_trip(here: World, user: User, trip: str) -> dict[Entity, Any]:
    path = f"/v1/trips/{trip}"
    found: dict[Entity, Any] = {}
    for one in await _get(here, user, f"{path}/members"):
        found["member", trip, one["membership"]["id"]] = one
    own = next(one for key, one in found.items() if one["user"]["id"] == str(user.id))
    if own["membership"]["role"] != "MEMBER":
        found |= {("invitation", trip, one["id"]): one for one in await _get(here, user, f"{path}/invitations")}
    for kind, list_ in (
        ("todo", "todos"), ("poll", "polls"), ("document", "wallet/documents"), ("photo", "images"),
    ):  # fmt: skip
        found |= {(kind, trip, one["id"]): one for one in await _listed(here, user, f"{path}/{list_}")}
    for message in await _messages(here, user, path):
        found["message", trip, message["id"]] = message
        found["reactions", trip, message["id"]] = []
        if "deleted_at" not in message:
            reactions = await _get(here, user, f"{path}/chat/messages/{message['id']}/reactions")
            found["reactions", trip, message["id"]] = reactions
    for receipt in await _get(here, user, f"{path}/chat/read-receipts"):
        found["receipt", trip, receipt["user"]["id"]] = receipt
    return found


async def _messages(here: World, user: User, path: str) -> Sequence[Any]:
    messages: list[Any] = []
    cursor = ""
    while True:
        page = await _get(here, user, f"{path}/chat/messages?limit={PAGE}{cursor}")
        messages += page["messages"]
        if not page["pagination"]["has_more"]:
            return messages
        cursor = f"&before={page['pagination']['next_cursor']}"


async def _listed(here: World, user: User, path: str) -> Sequence[Any]:
    """The items of all pages of a list."""
    items: list[Any] = []
    next_ = f"{path}?limit={PAGE}"
    while next_:
        reply = await here.call("GET", next_, by=user)
        assert reply.status == 200, reply.body
        items += reply.json if isinstance(reply.json, list) else reply.json["data"]
        link = reply.headers.get("link", "")
        next_ = link.partition("<")[2].partition(">")[0]
    return items


async def _get(here: World, user: User, path: str) -> Any:
    reply = await here.call("GET", path, by=user)
    assert reply.status == 200, reply.body
    return reply.json if not isinstance(reply.json, dict) or "data" not in reply.json else reply.json["data"]


def without_links(entities: Mapping[Entity, Any]) -> dict[Entity, Any]:
    """The entities without links of photos, which name the moment at which they end."""
    return {
        key: {name: value for name, value in one.items() if name not in ("url", "thumbnailUrl")}
        if key[0] == "photo"
        else one
        for key, one in entities.items()
    }


@dataclass
class Crew:
    """A trip of ana, who owns it, and ben, and the things that they do there."""

    here: World
    ana: User
    ben: User
    trip: UUID

    @property
    def path(self) -> str:
        return f"/v1/trips/{self.trip}"

    async def do(self, method: str, path: str, by: User, body: object = None, **sent: Any) -> Any:
        """Send a request on the trip, which must succeed; the reply's JSON."""
        reply = await self.here.call(method, f"{self.path}{path}", by=by, body=body, **sent)
        assert reply.status < 300, reply.body
        return reply.json if reply.body else None

    async def todo(self, text: str = "pack", **fields: Any) -> str:
        return str((await self.do("POST", "/todos", self.ana, {"text": text, **fields}))["id"])

    async def message(self, by: User, text: str = "train at nine") -> str:
        return str((await self.do("POST", "/chat/messages", by, {"message": text}))["id"])

    async def poll(self, **fields: Any) -> Any:
        return await self.do(
            "POST", "/polls", self.ana, {"question": "When?", "options": ["now", "later"], **fields}
        )

    async def document(self, name: str) -> str:
        form = document_form(PDF, name=name)
        made = await self.do(
            "POST", "/wallet/documents", self.ana, raw=form, headers={"content-type": FORM_DATA[1]}
        )
        return str(made["id"])

    async def photo(self) -> str:
        raw, type_ = image_form(photo())
        return str((await self.do("POST", "/images", self.ben, raw=raw, headers={"content-type": type_}))["id"])

    async def everything(self) -> None:
        """One of each thing."""
        message = await self.message(self.ben)
        await self.todo(assigneeId=str(self.ben.id), position=1.5, dueAt="2026-12-02T10:00:00Z")
        await self.do("POST", f"/chat/messages/{message}/reactions", self.ana, {"emoji": "👍"})
        await self.do("PUT", "/chat/last-read", self.ana, {"lastReadMessageId": message})
        poll = await self.poll()
        await self.do("POST", f"/polls/{poll['id']}/vote", self.ben, {"optionId": poll["options"][0]["id"]})
        await self.do("POST", "/invitations", self.ana, {"email": "eva@example.org", "role": "MEMBER"})
        await self.document("Tickets")
        await self.photo()


async def crew_of(here: World) -> Crew:
    ana, ben = await here.user("ana"), await here.user("ben")
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    return Crew(here, ana, ben, trip)

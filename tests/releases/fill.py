"""Fills a running server with data of every kind, and prints replies of it that time does not change.

Requests of routes that the server does not have are left out, so that the module works with every version.
"""

import asyncio
import json
import sys
import time
from typing import Any

from tests.e2e.client import Api, User
from tests.sample_files import JPEG_OF_A_PHONE, PDF

VIEWS = (
    "",
    "/details",
    "/members",
    "/todos",
    "/polls",
    "/chat/messages",
    "/chat/read-receipts",
    "/notification-preferences",
    "/wallet/documents",
)


async def fill(api: Api) -> dict[str, Any]:
    """Fill a new server. Returns the replies by path, as the user ana@example.org gets them."""
    ana = await api.register("ana", email="ana@example.org", username="ana", firstName="Zoë", lastName="Łódź")
    ben = await api.register("ben", email="Ben.Oneill@example.org", username="ben")
    eve = await api.register("eve", email="eve@example.org", username="eve")
    trip_id = await ana.new_trip(name="Açores 🏝")
    trip = f"/v1/trips/{trip_id}"
    await ana.add_member(trip_id, ben, "ADMIN")
    await ana.add_member(trip_id, eve)
    await eve.ask("DELETE", f"{trip}/members/{eve.id}")
    await ana.invite(trip_id, "new@example.org")
    await ana.ask("DELETE", f"/v1/trips/{await ana.new_trip()}")
    await ben.new_trip(name="Ben's own")
    await plan(ana, ben, trip)
    await talk(ana, ben, trip)
    now_ms = int(time.time() * 1000)
    for user in (ana, ben):
        report = {"latitude": 41.1496, "longitude": -8.6109, "accuracy": 12, "timestamp": now_ms}
        await offered(user, "POST", f"{trip}/locations", json=report)
    views = {path: await offered(ana, "GET", path) for path in ("/v1/users/me", *(trip + view for view in VIEWS))}
    return {path: reply for path, reply in views.items() if reply is not None}


async def plan(ana: User, ben: User, trip: str) -> None:
    for text in ("tickets", "größere Schuhe"):
        todo = await ana.new_todo(trip.rpartition("/")[2], text)
    await ben.ask("PUT", f"{trip}/todos/{todo['id']}", {"status": "COMPLETE"})
    poll = await offered(ana, "POST", f"{trip}/polls", json={"question": "How?", "options": ["train", "bus"]})
    if poll is not None:
        await ben.ask("POST", f"{trip}/polls/{poll['id']}/vote", {"optionId": poll["options"][0]["id"]})
    texts = json.dumps({"documentType": "visa", "name": "Visa"})
    form = {"file": ("visa", PDF, "application/pdf"), "metadata": (None, texts)}
    await offered(ana, "POST", f"{trip}/wallet/documents", files=form)
    for path in (f"{trip}/images", "/v1/users/me/avatar"):
        await offered(ana, "POST", path, content=JPEG_OF_A_PHONE, headers={"content-type": "image/jpeg"})
    await offered(ana, "POST", "/v1/calendars", json={})
    await offered(ana, "PUT", f"{trip}/notification-preferences", json={"chat": "mentions"})
    token = {"token": "ExponentPushToken[ben]", "deviceType": "ios"}
    await offered(ben, "POST", "/v1/users/push-token", json=token)


async def talk(ana: User, ben: User, trip: str) -> None:
    chat = f"{trip}/chat/messages"
    if await offered(ana, "GET", chat) is None:
        return
    for text in ("Olá 👋", "at 9?", "deleted"):
        message = await ana.ask("POST", chat, {"message": text})
    await ana.ask("DELETE", f"{chat}/{message['id']}")
    answer = await ben.ask("POST", chat, {"message": "at 10"})
    await ben.ask("PUT", f"{chat}/{answer['id']}", {"message": "at 11"})
    await ana.ask("POST", f"{chat}/{answer['id']}/reactions", {"emoji": "👍"})
    await ben.ask("PUT", f"{trip}/chat/last-read", {"last_message_id": answer["id"]})
    name, type_ = f"{trip}/chat/attachments?name=a.jpg", {"content-type": "image/jpeg"}
    file = await offered(ana, "POST", name, content=JPEG_OF_A_PHONE, headers=type_)
    if file is not None:
        await ana.ask("POST", chat, {"message": "", "attachmentId": file["id"]})


async def offered(user: User, method: str, path: str, **how: Any) -> Any:
    """The reply; None if the server is too old to have the route."""
    headers = {"authorization": f"Bearer {user.token}"} | how.pop("headers", {})
    reply = await user.api.send(method, path, headers=headers, **how)
    if reply.status_code in (404, 405):
        return None
    assert reply.is_success, (method, path, reply.text)
    return reply.json()


async def main(url: str) -> None:
    api = Api(url)
    try:
        print(json.dumps(await fill(api), ensure_ascii=False, indent=1, sort_keys=True))
    finally:
        await api.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""The Python client: repeats, pauses, and refreshed tokens."""

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
from nomadcrew_client import AsyncClient, Client, Part, Refused, Tokens, models

URL = "http://server.test"
TODO = {"id": "t1", "tripId": "p1", "text": "Pack", "status": "INCOMPLETE",
        "createdBy": "u1", "createdAt": "2027-01-01", "updatedAt": "2027-01-01"}  # fmt: skip
PROFILE = {"id": "u1", "email": "a@example.org", "username": "ana", "createdAt": "", "updatedAt": "",
           "lastSeenAt": "", "displayName": "Ana"}  # fmt: skip
NEW_TODO = models.NewTodoIn(text="Pack")

Answer = httpx.Response | Exception


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    texts = ("type", "title", "detail", "message", "error", "details", "request_id")
    return httpx.Response(status, json=dict.fromkeys(texts, "") | {"status": status, "code": code}, headers=headers)


class Script:
    """A server that gives these answers in order, and remembers the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request in self.requests]


class Site:
    """A server whose tokens expire: only `fresh` is valid."""

    def __init__(self) -> None:
        self.refreshes = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/auth/refresh":
            self.refreshes += 1
            assert json.loads(request.content) == {"refresh_token": "r1"}
            signed_in = {"access_token": "fresh", "refresh_token": "r2", "expires_in": 900, "user": PROFILE}
            return httpx.Response(200, json=signed_in)
        if request.headers["authorization"] != "Bearer fresh":
            return refusal(401, "token_expired")
        return httpx.Response(200, json=PROFILE)


def client(server: Callable[[httpx.Request], httpx.Response], tokens: Tokens | None = None) -> Client:
    return Client(URL, tokens, transport=httpx.MockTransport(server))


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds, none of which is made."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


def test_a_write_whose_reply_is_lost_is_repeated_with_its_key() -> None:
    server = Script(httpx.ReadError("lost"), httpx.Response(201, json=TODO))
    assert client(server).create_todo("p1", NEW_TODO).text == "Pack"
    first, second = server.keys
    assert first is not None
    assert first == second


def test_two_writes_have_two_keys() -> None:
    server = Script(httpx.Response(201, json=TODO), httpx.Response(201, json=TODO))
    for _ in range(2):
        client(server).create_todo("p1", NEW_TODO)
    assert len(set(server.keys)) == 2


def test_a_write_without_a_key_is_not_repeated() -> None:
    server = Script(httpx.ReadError("lost"))
    with pytest.raises(httpx.ReadError):
        client(server).login(models.LoginIn(username="ana", password="x"))
    assert len(server.requests) == 1


def test_a_limited_write_without_a_key_waits_as_long_as_it_is_told(pauses: list[float]) -> None:
    server = Script(refusal(429, "rate_limited", **{"retry-after": "7"}), refusal(401, "invalid_credentials"))
    with pytest.raises(Refused) as refused:
        client(server).login(models.LoginIn(username="ana", password="x"))
    assert refused.value.code == "invalid_credentials"
    assert pauses == [7.0]


def test_a_pause_of_more_than_a_minute_is_left_to_the_program() -> None:
    server = Script(refusal(429, "rate_limited", **{"retry-after": "61"}))
    with pytest.raises(Refused, match="429"):
        client(server).get_me()


def test_an_outage_ends_after_five_attempts_with_growing_pauses(pauses: list[float]) -> None:
    server = Script(*[httpx.Response(502, text="<html>")] * 5)
    with pytest.raises(Refused) as refused:
        client(server).get_me()
    assert refused.value.problem is None
    assert len(server.requests) == 5
    assert pauses == sorted(pauses)


def test_a_refusal_is_not_repeated() -> None:
    server = Script(refusal(403, "not_trip_member"))
    with pytest.raises(Refused) as refused:
        client(server).create_todo("p1", NEW_TODO)
    assert (refused.value.status, refused.value.code) == (403, "not_trip_member")


def test_an_expired_token_is_refreshed_and_the_call_repeated() -> None:
    site = Site()
    signed_in = client(site, Tokens("stale", "r1"))
    assert signed_in.get_me().username == "ana"
    assert signed_in.tokens == Tokens("fresh", "r2")


def test_an_expired_token_that_cannot_be_refreshed_is_refused() -> None:
    with pytest.raises(Refused, match="token_expired"):
        client(Site(), Tokens("stale")).get_me()


async def test_calls_at_the_same_time_refresh_once() -> None:
    site = Site()
    async with AsyncClient(URL, Tokens("stale", "r1"), transport=httpx.MockTransport(site)) as signed_in:
        profiles = await asyncio.gather(*[signed_in.get_me() for _ in range(3)])
    assert [profile.username for profile in profiles] == ["ana"] * 3
    assert site.refreshes == 1


def test_ids_in_paths_are_escaped_and_absent_parameters_left_out() -> None:
    server = Script(httpx.Response(200, json={"events": [], "next": None, "has_more": False}))
    client(server).list_events(limit=5)
    assert str(server.requests[0].url) == f"{URL}/v1/events?limit=5"
    server = Script(refusal(404, "not_found"))
    with pytest.raises(Refused):
        client(server).get_trip("../users")
    assert server.requests[0].url.raw_path == b"/v1/trips/..%2Fusers"


def test_the_headers_of_a_reply_tell_the_version_and_the_next_page_and_the_last_has_none() -> None:
    link = '</v1/trips?limit=1&after=a%3Db>; rel="next"'
    server = Script(
        httpx.Response(200, json=[], headers={"link": link}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json=TODO, headers={"etag": '"1f"'}),
    )
    reader = client(server)
    reader.list_trips(limit=1)
    pages = [reader.next_page]
    reader.list_trips(limit=1, after=pages[0])
    pages.append(reader.next_page)
    assert pages == ["a=b", None]
    assert server.requests[1].url.params["after"] == "a=b"
    reader.get_todo("p1", "t1")
    assert reader.headers["etag"] == '"1f"'


async def test_calls_at_the_same_time_do_not_mix_their_headers() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0 if request.url.path.endswith("1") else 0.02)
        return httpx.Response(200, json=TODO, headers={"etag": request.url.path[-1]})

    async def etag(todo_id: str) -> str:
        await reader.get_todo("p1", todo_id)
        await asyncio.sleep(0.04)
        return reader.headers["etag"]

    async with AsyncClient(URL, transport=httpx.MockTransport(answer)) as reader:
        assert list(await asyncio.gather(etag("t1"), etag("t2"))) == ["1", "2"]


def test_a_field_is_absent_null_or_set() -> None:
    sent = []
    for change in (
        models.TodoChangeIn(),
        models.TodoChangeIn(due_at=None),
        models.TodoChangeIn(due_at="2027-05-01"),
    ):
        server = Script(httpx.Response(200, json=TODO))
        client(server).update_todo("p1", "t1", change)
        sent.append(json.loads(server.requests[0].content))
    assert sent == [{}, {"dueAt": None}, {"dueAt": "2027-05-01"}]


def test_a_form_has_the_file_and_its_metadata() -> None:
    server = Script(refusal(400, "invalid"))
    with pytest.raises(Refused):
        client(server).upload_document(Part("ticket.pdf", b"%PDF", "application/pdf"), "{}")
    assert server.requests[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="ticket.pdf"' in server.requests[0].content

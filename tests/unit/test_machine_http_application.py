"""The machine host's HTTP application, called in this process."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ports import Site
from nomadcrew.hosts.machine.http import bodies
from nomadcrew.hosts.machine.http.application import NO_ROUTE
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.exchange import Disconnected, joined_headers
from nomadcrew.web.dispatch import SECURITY_HEADERS
from nomadcrew.web.routes import MAX_BODY_BYTES
from tests.fakes import NOON, CountingOutbox, FakeTokens, MemoryIdempotency, OpenLimits
from tests.unit.http_host import Answer, Host, created


class ExpiringTokens(FakeTokens):
    """Tokens of which `expired` was valid."""

    async def verify(self, token: str, *, now: datetime) -> Claims:
        if token == "expired":
            raise Unauthenticated(code="token_expired")
        return await super().verify(token, now=now)


TRIP = "019a0000-0000-7000-8000-00000000000a"
ANA = {"authorization": "Bearer ana"}
APP_ORIGIN = "https://app.example.com"


@pytest.mark.contract("jobs.headers")
async def test_a_route_replies_with_all_common_headers() -> None:
    host = Host()
    answer = await host.client.ask("GET", f"/v1/notes/{TRIP}?a=1&a=2&b=", ANA)
    assert answer.status == 200
    assert answer.json["params"] == {"id": TRIP}
    assert answer.json["query"] == {"a": ["1", "2"], "b": [""]}
    assert answer.headers == {
        **SECURITY_HEADERS,
        "x-request-id": str(UUID(int=0x019A_0000_0000_7000_8000_0000_0000_0001)),
        "x-ratelimit-limit": "10",
        "x-ratelimit-remaining": "9",
        "x-ratelimit-reset": str(int(NOON.timestamp()) + 6),
        "content-type": "application/json; charset=utf-8",
    }
    assert host.observed.seen == [("GET /v1/notes/{id}", 200)]


async def test_escapes_are_decoded_in_parameters_and_query() -> None:
    answer = await Host().client.ask("GET", "/v1/notes/a%2Fb%20%C3%A9?q=%C3%A9+x%00y", ANA)
    assert answer.json["params"] == {"id": "a/b é"}
    assert answer.json["query"] == {"q": ["é xy"]}


async def test_a_page_is_html() -> None:
    answer = await Host().client.ask("GET", "/invite/accept/a.b.c")
    assert (answer.status, answer.body) == (200, b"<p>hello</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("body", [b'{"text":"hi"}', [b'{"te', b"", b'xt":"hi"}'], [b'{"text":"hi"}']])
async def test_bodies_arrive_whole_or_in_pieces(body: bytes | list[bytes]) -> None:
    answer = await Host().client.ask("POST", "/v1/notes", ANA, body)
    assert (answer.status, answer.json["text"]) == (201, "hi")


async def test_a_request_without_a_body_is_not_waited_for() -> None:
    client = Host().client
    assert (await client.app.answer(client.exchange("POST", "/v1/notes", ANA))).status == 400


LARGE = [b"x" * 100_000, b"x" * 100_000]


@pytest.mark.parametrize(
    ("headers", "body"),
    [({"content-length": str(MAX_BODY_BYTES + 1)}, b""), ({"content-length": "9" * 30}, b""), ({}, LARGE)],
)
async def test_a_body_beyond_the_limit_is_refused_before_its_end(headers: dict[str, str], body: Any) -> None:
    host = Host(cors=Cors([APP_ORIGIN]))
    answer = await host.client.ask("POST", "/v1/notes", {**ANA, **headers, "origin": APP_ORIGIN}, body)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.json["message"] == "The request body exceeds 128 KiB."
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["access-control-allow-origin"] == APP_ORIGIN
    assert created == []
    assert host.observed.seen == [("POST /v1/notes", 413)]


async def test_a_body_of_the_limit_is_accepted() -> None:
    text = "x" * (MAX_BODY_BYTES - len('{"text":""}'))
    answer = await Host().client.ask("POST", "/v1/notes", ANA, f'{{"text":"{text}"}}'.encode())
    assert answer.status == 201


@pytest.mark.parametrize(("bytes_", "status"), [(2 << 20, 201), ((2 << 20) + 1, 413)])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_route_can_have_a_higher_limit(bytes_: int, status: int, pieces: int) -> None:
    body = b'{"text":"' + b"x" * (bytes_ - len('{"text":""}')) + b'"}'
    size = -(-len(body) // pieces)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    answer = await Host().client.ask("POST", "/v1/novels", ANA, parts)
    assert answer.status == status


async def test_a_client_that_disconnects_gets_no_reply() -> None:
    host = Host()
    exchange = host.client.exchange("POST", "/v1/notes", ANA, b"x" * 20)
    exchange.feed(b'{"te')
    asyncio.get_running_loop().call_soon(exchange.disconnect)
    with pytest.raises(Disconnected):
        await host.app.answer(exchange)
    assert (created, host.observed.seen) == ([], [("POST /v1/notes", 400)])


async def test_an_incomplete_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.01)
    host = Host()
    reply = await host.app.answer(host.client.exchange("POST", "/v1/notes", ANA, b"x" * 9))
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert msgspec.json.decode(reply.body)["code"] == "body_incomplete"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/v1/nowhere"),
        ("HEAD", "/v1/nowhere"),
        ("OPTIONS", "/v1/nowhere"),
        ("PUT", "/v1/notes/%ff"),
        ("GET", "/v1/notes/%ff"),
        ("GET", "/v1/notes//"),
        ("GET", "/docs/../openapi.json"),
    ],
)
async def test_an_unknown_path_gets_404_in_the_usual_form(method: str, target: str) -> None:
    host = Host()
    answer = await host.client.ask(method, target, {"x-request-id": "mine"})
    assert (answer.status, answer.headers["x-request-id"]) == (404, "mine")
    if method != "HEAD":
        assert (answer.code, answer.json["request_id"]) == ("route_not_found", "mine")
    assert answer.headers.items() >= SECURITY_HEADERS.items()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert host.observed.seen == ([] if method == "OPTIONS" else [(NO_ROUTE, 404)])


@pytest.mark.parametrize(
    "target", ["/v1/notes", f"/v1/notes/{TRIP}", "/invite/accept/a.b.c", "/health", "/docs", "/openapi.json"]
)
async def test_head_is_answered_as_get_without_the_body(target: str) -> None:
    host = Host()
    got = await host.client.ask("GET", target, {**ANA, "x-request-id": "r"})
    headed = await host.client.ask("HEAD", target, {**ANA, "x-request-id": "r"})
    assert (headed.status, headed.body, headed.headers) == (got.status, b"", got.headers)
    assert host.observed.seen[0] == host.observed.seen[1]


async def test_head_needs_a_token_where_get_does() -> None:
    answer = await Host().client.ask("HEAD", "/v1/notes")
    assert (answer.status, answer.body) == (401, b"")


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("PUT", "/v1/notes", "GET, HEAD, POST, OPTIONS"),
        ("BREW", "/v1/notes", "GET, HEAD, POST, OPTIONS"),
        ("TRACE", f"/v1/notes/{TRIP}?a=1", "GET, HEAD, DELETE, OPTIONS"),
        ("GET", "/v1/novels", "POST, OPTIONS"),
        ("HEAD", "/v1/novels", "POST, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
        ("PUT", "/docs", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_known_path_says_which_methods_it_has(method: str, target: str, allow: str) -> None:
    host = Host()
    answer = await host.client.ask(method, target, ANA)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert answer.body == b"" if method == "HEAD" else answer.code == "method_not_allowed"
    assert host.observed.seen == [(NO_ROUTE, 405)]
    options = await host.client.ask("OPTIONS", target)
    assert (options.status, options.headers["allow"], options.body) == (204, allow, b"")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    answer = await Host().client.ask("POST", "/v1/notes", {**ANA, "content-encoding": encoding}, b"\x1f\x8b")
    assert (answer.status, answer.code) == (415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "identity"
    assert created == []


@pytest.mark.parametrize("type_", ["application/json; charset=utf-8", "text/plain", ""])
async def test_json_is_read_whatever_its_type_is_called_and_with_a_mark(type_: str) -> None:
    headers = {**ANA, "content-encoding": "Identity", "content-type": type_}
    answer = await Host().client.ask("POST", "/v1/notes", headers, b'\xef\xbb\xbf{"text":"hi"}')
    assert (answer.status, created) == (201, ["hi"])


async def test_a_body_is_not_read_before_the_token_is_verified_and_the_limit_spent() -> None:
    for headers, limits, status in (({}, OpenLimits(), 401), (ANA, OpenLimits(closed={"default"}), 429)):
        host = Host(limits=limits)
        reply = await host.app.answer(host.client.exchange("POST", "/v1/notes", headers, b"never sent"))
        assert reply.status == status


@pytest.mark.parametrize(("code", "counted"), [("token_missing", 1), ("auth_failed", 1), ("token_expired", 0)])
async def test_refused_tokens_count_against_their_address(code: str, counted: int) -> None:
    limits = OpenLimits()
    headers = {
        "token_missing": {},
        "auth_failed": {"authorization": "Bearer forged"},
        "token_expired": {"authorization": "Bearer expired"},
    }
    answer = await Host(limits=limits, verifier=ExpiringTokens()).client.ask("GET", "/v1/notes", headers[code])
    assert (answer.status, answer.code) == (401, code)
    assert limits.asked == [("bad_token", "203.0.113.9", 1)] * counted


async def test_an_address_with_many_bad_tokens_waits_and_its_valid_ones_do_not() -> None:
    client = Host(limits=OpenLimits(closed={"bad_token"})).client
    answer = await client.ask("GET", "/v1/notes", {"authorization": "Bearer forged"})
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert (await client.ask("GET", "/v1/notes", ANA)).status == 200


async def test_metrics_cannot_be_read_by_pages() -> None:
    client = Host().client
    client.peer = "127.0.0.1"
    answer = await client.ask("GET", "/metrics", {"host": "localhost:8080", "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert (await client.ask("GET", "/metrics", {"host": "localhost:8080"})).status == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8080", "", "8.8.8.8"):
        answer = await client.ask("GET", "/metrics", {"host": host})
        assert (answer.status, answer.code) == (403, "metrics_private")


@pytest.mark.parametrize(
    ("method", "target", "status", "location"),
    [
        ("GET", "/v1/notes/", 301, "/v1/notes"),
        ("POST", "/v1/notes/?a=b%20c", 307, "/v1/notes?a=b%20c"),
        ("DELETE", "/v1/notes/a%2Fb/", 307, "/v1/notes/a%2Fb"),
        ("GET", "/health/", 301, "/health"),
        ("GET", "/docs/", 301, "/docs"),
    ],
)
async def test_a_trailing_slash_is_redirected(method: str, target: str, status: int, location: str) -> None:
    answer = await Host().client.ask(method, target)
    assert (answer.status, answer.headers["location"], answer.body) == (status, location, b"")
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("target", ["//evil.example/", "//evil.example/v1/notes/", "/https://evil.example/"])
async def test_a_redirect_never_leads_to_another_host(target: str) -> None:
    assert (await Host().client.ask("GET", target)).status == 404


@pytest.mark.contract("rest-activity.request-id")
@pytest.mark.parametrize("given", ["a-b_c.1", "x" * 128])
async def test_a_valid_request_id_is_returned(given: str) -> None:
    answer = await Host().client.ask("GET", "/v1/notes", {**ANA, "x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a\tb", "naïve"])
async def test_an_invalid_request_id_is_replaced(given: str) -> None:
    answer = await Host().client.ask("GET", "/v1/notes", {**ANA, "x-request-id": given})
    assert UUID(answer.headers["x-request-id"]).version == 7


async def test_refusals_outages_and_bugs_have_one_form() -> None:
    client = Host().client
    answers = {how: await client.ask("POST", f"/v1/fail/{how}") for how in ("conflict", "outage", "bug")}
    assert {how: (answer.status, answer.code) for how, answer in answers.items()} == {
        "conflict": (409, "conflict"),
        "outage": (503, "unavailable"),
        "bug": (500, "internal"),
    }
    assert answers["outage"].headers["retry-after"] == "2"
    assert b"secret" not in answers["bug"].body


async def test_tokens_and_limits_are_checked() -> None:
    limits = OpenLimits(closed={"default"})
    client = Host(limits=limits).client
    assert (await client.ask("GET", "/v1/notes")).code == "token_missing"
    assert (await client.ask("GET", "/v1/notes", {"authorization": "Basic x"})).code == "invalid_auth_format"
    assert (await client.ask("GET", "/v1/notes", {"authorization": "Bearer forged"})).code == "auth_failed"
    answer = await client.ask("GET", "/v1/notes", ANA)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


async def test_repeated_headers_are_joined_and_a_repeated_token_is_invalid() -> None:
    client = Host().client
    twice = [("authorization", "Bearer ana"), ("authorization", "Bearer ben")]
    assert (await client.ask("GET", "/v1/notes", twice)).status == 401
    pairs = [(b"a", b"1"), (b"cookie", b"x=1"), (b"a", b"2"), (b"cookie", b"y=2")]
    assert joined_headers(pairs) == {"a": "1,2", "cookie": "x=1; y=2"}


async def test_a_repeated_write_with_a_key_takes_effect_once() -> None:
    client = Host(idempotency=MemoryIdempotency()).client
    headers = {**ANA, "idempotency-key": "k-1"}
    answers = [await client.ask("POST", "/v1/notes", headers, b'{"text":"hi"}') for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].body == answers[1].body
    assert created == ["hi"]
    assert (await client.ask("POST", "/v1/notes", headers, b'{"text":"other"}')).status == 422


async def test_the_outbox_is_notified_before_and_after_a_write() -> None:
    outbox = CountingOutbox()
    client = Host(outbox=outbox, idempotency=MemoryIdempotency()).client
    await client.ask("GET", "/v1/notes", ANA)
    assert (outbox.writes, outbox.commits_with_events) == (0, 0)
    await client.ask("POST", "/v1/notes", ANA, b'{"text":"hi"}')
    assert (outbox.writes, outbox.commits_with_events) == (1, 1)
    await client.ask("POST", "/v1/fail/outage")  # the write may have happened
    assert (outbox.writes, outbox.commits_with_events) == (2, 1)
    for _ in range(2):
        await client.ask("POST", "/v1/notes", {**ANA, "idempotency-key": "k-1"}, b'{"text":"hi"}')
    assert (outbox.writes, outbox.commits_with_events) == (4, 3)


async def address_of(host: Host, headers: dict[str, str], peer: str) -> str:
    host.client.peer = peer
    address: str = (await host.client.ask("GET", "/v1/notes", {**ANA, **headers})).json["client_ip"]
    return address


async def test_the_client_address_is_the_peer_unless_a_trusted_proxy_forwards_another() -> None:
    forwarded = {"x-forwarded-for": "198.51.100.7"}
    assert await address_of(Host(), forwarded, "127.0.0.1") == "127.0.0.1"
    assert await address_of(Host(), forwarded, "") == ""
    trusting = Host(proxies=TrustedProxies(["127.0.0.1"]))
    assert await address_of(trusting, forwarded, "127.0.0.1") == "198.51.100.7"
    assert await address_of(trusting, {"x-forwarded-for": "2001:db8::7"}, "127.0.0.1") == "2001:db8::/64"


async def with_origin(method: str, origin: str, target: str = "/v1/notes") -> Answer:
    client = Host(cors=Cors([APP_ORIGIN])).client
    return await client.ask(method, target, {**ANA, "origin": origin, "host": "api.example.com"})


async def test_an_allowed_origin_gets_the_cors_headers() -> None:
    answer = await with_origin("GET", APP_ORIGIN)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == APP_ORIGIN
    refused = await with_origin("GET", APP_ORIGIN, "/v1/nowhere")
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (404, APP_ORIGIN)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_another_origin_is_refused(method: str) -> None:
    answer = await with_origin(method, "https://evil.example")
    assert (answer.status, answer.body) == (403, b"")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"
    assert created == []


@pytest.mark.parametrize("target", ["/v1/notes", "/v1/nowhere", "/"])
async def test_a_preflight_is_answered_on_any_path(target: str) -> None:
    answer = await with_origin("OPTIONS", APP_ORIGIN, target)
    assert (answer.status, answer.headers["access-control-max-age"]) == (204, "43200")
    assert "x-request-id" in answer.headers


async def test_a_preflight_lists_the_methods_of_a_known_path() -> None:
    assert (await with_origin("OPTIONS", APP_ORIGIN)).headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert "allow" not in (await with_origin("OPTIONS", APP_ORIGIN, "/v1/nowhere")).headers


@pytest.mark.contract("jobs.headers")
async def test_hsts_is_sent_behind_tls() -> None:
    secure = Host(site=Site("https://api.example.com")).client
    for target in ("/v1/notes", "/v1/nowhere", "/docs", "/health"):
        assert "max-age" in (await secure.ask("GET", target)).headers["strict-transport-security"]
    assert "strict-transport-security" not in (await Host().client.ask("GET", "/v1/notes")).headers

"""Events of API Gateway HTTP APIs, payload format 2.0, as documented by AWS."""

import asyncio
import base64
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nomadcrew.core.claims import Claims, KeyScope
from nomadcrew.core.ids import ApiKeyId, SessionId, TripId, UserId
from nomadcrew.core.ports import Ports
from nomadcrew.core.rate_limits import Allowance
from nomadcrew.hosts.aws.entry import Entry
from nomadcrew.hosts.aws.http_event import lambda_entry, request_of, response_of
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.routes import Auth, Routes
from tests.fakes import ANA, NOON, FakeOpenSessions, FakeTokens, OpenLimits, UnexpectedPort, fake_ports
from tests.lambda_loops import close_lambda_loops

__all__ = ["close_lambda_loops"]

SESSION = "019a0000-0000-7000-8000-0000000000ff"


class Note(msgspec.Struct):
    text: str


class Seen(msgspec.Struct):
    """The request as the handler received it."""

    trip: str
    tags: list[str]
    text: str = ""


routes = Routes("test")


@routes.get("/v1/trips/{id}/notes")
async def list_notes(call: Call) -> Seen:
    return Seen(str(call.trip_id), list(call.request.query.get("tag", ())))


@routes.post("/v1/trips/{id}/notes", status=201)
async def create_note(call: Call, body: Note) -> Seen:
    return Seen(str(call.trip_id), [], body.text)


@routes.delete("/v1/trips/{id}/notes/{noteId}", status=204)
async def delete_note(call: Call) -> None: ...


@routes.get("/v1/picture", auth=Auth.PUBLIC)
async def picture(call: Call) -> Reply:
    return Reply(200, b"\x89PNG\xff", {"content-type": "image/png"})


def claims_text(session_id: UUID | None = None, expires_at: datetime = NOON + timedelta(minutes=15)) -> str:
    """Claims as the authorizer passes them on."""
    session = None if session_id is None else SessionId(session_id)
    return msgspec.json.encode(Claims(ANA, expires_at, session_id=session)).decode()


def event(route_key: str = "GET /v1/trips/{id}/notes", **parts: Any) -> dict[str, Any]:
    """The event of the AWS documentation, reduced to a signed-in client's request."""
    method = route_key.partition(" ")[0]
    path = f"/v1/trips/{ANA}/notes"
    complete: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "content-length": "0",
            "host": "api.example.com",
            "user-agent": "okhttp/4.9.2",
            "x-amzn-trace-id": "Root=1-6876c9f8-5f2a",
            "x-forwarded-for": "203.0.113.9",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "authorizer": {"lambda": {"claims": claims_text()}},
            "domainName": "api.example.com",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "okhttp/4.9.2",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route_key,
            "stage": "$default",
            "time": "01/Jul/2026:12:00:00 +0000",
            "timeEpoch": 1782907200000,
        },
        "pathParameters": {"id": str(ANA)},
        "isBase64Encoded": False,
    }
    return {**complete, **parts}


def other_method(method: str, path: str) -> dict[str, Any]:
    """The event of a method that has no row at the path."""
    one = event("$default", rawPath=path)
    one["requestContext"]["http"]["method"] = method
    return one


@pytest.fixture
def handler() -> Entry:
    return lambda_entry(routes, lambda _: fake_ports(verifier=UnexpectedPort("verifier")))


def test_the_claims_of_the_gateway_are_used_without_verifying_the_token(handler: Entry) -> None:
    response = handler(event(), None)
    assert response["statusCode"] == 200
    assert json.loads(response["body"]) == {"trip": str(ANA), "tags": [], "text": ""}
    assert response["isBase64Encoded"] is False
    assert response["headers"]["content-type"] == "application/json; charset=utf-8"
    assert response["headers"]["x-request-id"] == "JKJaXmPLvHcESHA="
    assert response["headers"]["x-frame-options"] == "DENY"


def with_session(request_event: dict[str, Any]) -> dict[str, Any]:
    request_event["requestContext"]["authorizer"]["lambda"]["claims"] = claims_text(UUID(SESSION))
    return request_event


class Watched:
    """Rate limits and sessions; each call waits for the other one, so that they must run at the same time."""

    def __init__(self) -> None:
        self.met = asyncio.Barrier(2)

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        await asyncio.wait_for(self.met.wait(), 1)
        return await OpenLimits().spend(bucket, key, cost=cost)

    async def is_open(self, user_id: UserId, session_id: SessionId) -> bool:
        assert (user_id, session_id) == (ANA, UUID(SESSION))
        await asyncio.wait_for(self.met.wait(), 1)
        return True


def test_a_token_whose_session_has_ended_is_refused_although_the_gateway_verified_it() -> None:
    sessions = FakeOpenSessions({SessionId(UUID(SESSION))})
    handler = lambda_entry(routes, lambda _: fake_ports(open_sessions=sessions))
    refused = handler(with_session(event()), None)
    assert (refused["statusCode"], json.loads(refused["body"])["code"]) == (401, "auth_failed")
    assert handler(event(), None)["statusCode"] == 200  # another issuer's token has no session of ours
    sessions.ended.clear()
    assert handler(with_session(event()), None)["statusCode"] == 200


def test_a_token_is_not_accepted_while_its_session_is_unknown() -> None:
    handler = lambda_entry(routes, lambda _: fake_ports(open_sessions=FakeOpenSessions(away=True)))
    assert handler(with_session(event()), None)["statusCode"] == 503


def test_the_session_is_read_while_the_limit_is_counted() -> None:
    both = Watched()
    handler = lambda_entry(routes, lambda _: fake_ports(limits=both, open_sessions=both))
    assert handler(with_session(event()), None)["statusCode"] == 200


def test_repeated_query_keys_are_all_passed(handler: Entry) -> None:
    # The parsed form joins values with commas, so `a,b` and `c` would be ambiguous.
    request_event = event(rawQueryString="tag=a%2Cb&tag=c&tag=&x", queryStringParameters={"tag": "a,b,c,", "x": ""})
    assert json.loads(handler(request_event, None)["body"])["tags"] == ["a,b", "c", ""]


def test_a_nul_in_the_query_is_removed(handler: Entry) -> None:
    assert json.loads(handler(event(rawQueryString="tag=a%00b&tag=c"), None)["body"])["tags"] == ["ab", "c"]


def test_a_path_with_a_nul_is_not_found(handler: Entry) -> None:
    request_event = event(
        "DELETE /v1/trips/{id}/notes/{noteId}", pathParameters={"id": str(ANA), "noteId": "a\x00b"}
    )
    response = handler(request_event, None)
    assert (response["statusCode"], json.loads(response["body"])["code"]) == (404, "route_not_found")


@pytest.mark.parametrize("encoded", [False, True])
def test_bodies_may_be_text_or_base64(handler: Entry, encoded: bool) -> None:
    body = '{"text":"Zürich → Genève"}'
    text = base64.b64encode(body.encode()).decode() if encoded else body
    response = handler(event("POST /v1/trips/{id}/notes", body=text, isBase64Encoded=encoded), None)
    assert response["statusCode"] == 201
    assert json.loads(response["body"])["text"] == "Zürich → Genève"


def test_a_missing_body_is_empty(handler: Entry) -> None:
    response = handler(event("POST /v1/trips/{id}/notes"), None)
    assert response["statusCode"] == 400
    assert json.loads(response["body"])["details"] == "the body is empty"
    assert json.loads(response["body"])["message"] == "The request has no body."


def test_a_byte_order_mark_before_json_is_skipped(handler: Entry) -> None:
    response = handler(event("POST /v1/trips/{id}/notes", body='\ufeff{"text":"hi"}'), None)
    assert (response["statusCode"], json.loads(response["body"])["text"]) == (201, "hi")


def test_a_204_reply_has_no_body(handler: Entry) -> None:
    request_event = event(
        "DELETE /v1/trips/{id}/notes/{noteId}", pathParameters={"id": str(ANA), "noteId": SESSION}
    )
    response = handler(request_event, None)
    assert (response["statusCode"], response["body"]) == (204, "")


def test_binary_replies_are_base64(handler: Entry) -> None:
    response = handler(event("GET /v1/picture", pathParameters=None), None)
    assert response["isBase64Encoded"] is True
    assert base64.b64decode(response["body"]) == b"\x89PNG\xff"


@pytest.mark.parametrize("route_key", ["$default", "GET /v1/nowhere"])
def test_an_unknown_route_gets_404_with_the_usual_headers(handler: Entry, route_key: str) -> None:
    response = handler(event(route_key), None)
    assert response["statusCode"] == 404
    assert json.loads(response["body"])["code"] == "route_not_found"
    assert response["headers"]["x-request-id"] == "JKJaXmPLvHcESHA="
    assert response["headers"]["x-content-type-options"] == "nosniff"


def test_head_is_answered_as_get_without_the_body(handler: Entry) -> None:
    got, headed = handler(event(), None), handler(event("HEAD /v1/trips/{id}/notes"), None)
    assert headed == got | {"body": ""}
    picture = handler(event("HEAD /v1/picture", pathParameters=None), None)
    assert (picture["statusCode"], picture["body"], picture["headers"]["content-type"]) == (200, "", "image/png")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/trips/{id}/notes", "GET, HEAD, POST, OPTIONS"),
        ("/v1/trips/{id}/notes/{noteId}", "DELETE, OPTIONS"),
        ("/v1/picture", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_known_path_says_which_methods_it_has(path: str, allow: str) -> None:
    handler = lambda_entry(routes, lambda _: fake_ports(), {path: allow}.get)
    for method, status in (("PATCH", 405), ("OPTIONS", 204)):
        response = handler(other_method(method, path), None)
        assert (response["statusCode"], response["headers"]["allow"]) == (status, allow)
        assert response["headers"]["x-request-id"] == "JKJaXmPLvHcESHA="


def test_a_compressed_body_is_refused(handler: Entry) -> None:
    request_event = event("POST /v1/trips/{id}/notes", body="H4s=", isBase64Encoded=True)
    request_event["headers"]["Content-Encoding"] = "gzip"
    response = handler(request_event, None)
    assert (response["statusCode"], response["headers"]["accept-encoding"]) == (415, "identity")


def test_a_token_without_claims_of_the_gateway_is_verified() -> None:
    handler = lambda_entry(routes, lambda _: fake_ports(verifier=FakeTokens()))
    request_event = event()
    del request_event["requestContext"]["authorizer"]
    request_event["headers"]["Authorization"] = "Bearer ana"
    assert handler(request_event, None)["statusCode"] == 200
    request_event["headers"]["Authorization"] = "Bearer forged"
    assert handler(request_event, None)["statusCode"] == 401


def test_ports_are_made_once_and_the_loop_is_reused() -> None:
    made: list[Ports] = []

    def ports(_declared: tuple[str, ...]) -> Ports:
        made.append(fake_ports())
        return made[-1]

    handler = lambda_entry(routes, ports)
    assert [handler(event(), None)["statusCode"] for _ in range(3)] == [200, 200, 200]
    assert len(made) == 1


def test_cookies_are_joined_into_one_header() -> None:
    request = request_of(event(cookies=["a=1", "b=2"]))
    assert request.headers["cookie"] == "a=1; b=2"
    assert request.client_ip == "203.0.113.9"


@pytest.mark.parametrize("invalid", ["", "x" * 129, "a\tb", "naïve"])
def test_an_invalid_request_id_is_replaced_by_the_gateways(invalid: str) -> None:
    assert request_of(event(headers={"X-Request-ID": invalid})).request_id == "JKJaXmPLvHcESHA="
    assert request_of(event(headers={"X-Request-ID": "mine"})).request_id == "mine"


def test_claims_arrive_as_the_authorizer_sent_them() -> None:
    key = KeyScope(ApiKeyId(UUID(SESSION)), writes=True, trips=frozenset({TripId(UUID(SESSION))}))
    claims = Claims(ANA, NOON, is_admin=True, session_id=SessionId(UUID(SESSION)), key=key)
    request_event = event()
    request_event["requestContext"]["authorizer"]["lambda"] = {"claims": msgspec.json.encode(claims).decode()}
    request = request_of(request_event)
    assert (request.claims, request.refusal) == (claims, None)


@pytest.mark.parametrize("code", ["token_expired", "auth_failed", "invalid_api_key"])
def test_a_refusal_of_the_authorizer_is_answered(handler: Entry, code: str) -> None:
    request_event = event()
    request_event["requestContext"]["authorizer"]["lambda"] = {"code": code, "text": "No."}
    response = handler(request_event, None)
    problem = json.loads(response["body"])
    assert (response["statusCode"], problem["code"], problem["message"]) == (401, code, "No.")


def test_refusals_of_an_address_are_limited() -> None:
    handler = lambda_entry(routes, lambda _: fake_ports(limits=OpenLimits(closed={"bad_token"})))
    request_event = event()
    request_event["requestContext"]["authorizer"]["lambda"] = {"code": "auth_failed", "text": "No."}
    assert handler(request_event, None)["statusCode"] == 429


def test_a_token_that_the_gateway_remembers_ends_at_its_time(handler: Entry) -> None:
    request_event = event()
    request_event["requestContext"]["authorizer"]["lambda"]["claims"] = claims_text(expires_at=NOON)
    response = handler(request_event, None)
    assert (response["statusCode"], json.loads(response["body"])["code"]) == (401, "token_expired")


def test_a_text_reply_stays_text() -> None:
    assert response_of(Reply(200, b"ok", {"x": "y"})) == {
        "statusCode": 200,
        "headers": {"x": "y"},
        "body": "ok",
        "isBase64Encoded": False,
    }

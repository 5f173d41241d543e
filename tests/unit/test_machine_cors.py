"""Origins that may call the API."""

import pytest

from nomadcrew.hosts.machine.http.cors import Cors

APP = "https://app.example.com"
LISTED = Cors([APP, "https://*.crew.example", "http://*.dev.example:3000", "capacitor://localhost"])


def test_without_a_list_every_origin_may_call_without_credentials() -> None:
    for cors in (Cors(), Cors([]), Cors(["*"]), Cors([APP, "*"])):
        headers = cors.check("https://anything.example", "api.example.com")
        assert headers is not None
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers


def test_a_listed_origin_is_echoed_with_credentials() -> None:
    headers = LISTED.check(APP, "api.example.com")
    assert headers is not None
    assert headers["access-control-allow-origin"] == APP
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"


@pytest.mark.contract("jobs.cors")
def test_scripts_may_read_limits_and_request_id() -> None:
    headers = LISTED.check(APP, "api.example.com")
    assert headers is not None
    exposed = headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-ID", "Retry-After", "Content-Length"} <= set(exposed)
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(exposed)


@pytest.mark.contract("jobs.cors.wildcard")
@pytest.mark.parametrize(
    "origin",
    [
        "https://a.crew.example",
        "https://a.b.crew.example",
        "https://A.Crew.Example",
        "http://web.dev.example:3000",
        "capacitor://localhost",
    ],
)
def test_a_wildcard_matches_subdomains(origin: str) -> None:
    assert LISTED.check(origin, "api.example.com")


@pytest.mark.parametrize(
    "origin",
    [
        "https://crew.example",
        "http://a.crew.example",
        "https://a.crew.example:8443",
        "https://acrew.example",
        "https://evil.example/.crew.example",
        "https://a.crew.example.evil.example",
        "https://.crew.example",
        "https://a..crew.example",
        "https://user@a.crew.example",
        "https://a.crewxexample",
        "http://web.dev.example",
        "http://app.example.com",
        "null",
        "",
    ],
)
def test_other_origins_are_refused(origin: str) -> None:
    assert LISTED.check(origin, "api.example.com") is None
    assert LISTED.preflight({"origin": origin, "host": "api.example.com"}).status == 403


def test_same_origin_requests_are_unaffected() -> None:
    assert LISTED.check(None, "api.example.com") == {}
    assert LISTED.check("https://api.example.com", "API.example.com") == {}
    assert LISTED.check("http://localhost:8080", "localhost:8080") == {}


def test_without_a_host_header_no_origin_is_the_own_one() -> None:
    assert LISTED.check("https://", "") is None


@pytest.mark.contract("jobs.cors")
def test_a_preflight_is_valid_for_half_a_day() -> None:
    reply = LISTED.preflight({"origin": APP, "access-control-request-method": "PUT"})
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-max-age"] == "43200"
    assert reply.headers["access-control-allow-origin"] == APP
    assert reply.headers["access-control-allow-methods"].split(", ") == [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
    ]  # fmt: skip
    assert {"Authorization", "Idempotency-Key", "X-Request-ID", "X-CSRF-Token"} <= set(
        reply.headers["access-control-allow-headers"].split(", ")
    )


def test_a_refused_preflight_has_no_body() -> None:
    reply = LISTED.preflight({"origin": "https://evil.example"})
    assert (reply.status, reply.body) == (403, b"")


def test_options_without_an_origin_asks_for_no_permission() -> None:
    reply = LISTED.preflight({})
    assert (reply.status, dict(reply.headers)) == (204, {})


def test_a_trailing_slash_of_an_entry_is_ignored() -> None:
    assert Cors(["https://app.example.com/"]).check(APP, "api.example.com")


@pytest.mark.parametrize(
    "entry", ["app.example.com", "https://", "https://*", "https://a.*.example", "https://a/b"]
)
def test_an_invalid_setting_is_refused_with_a_sentence(entry: str) -> None:
    with pytest.raises(ValueError, match="is not an origin; use https://app"):
        Cors([entry])

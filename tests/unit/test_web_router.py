"""Matching of paths to routes."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nomadcrew.hosts.machine.http.router import Router
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Routes

DECLARED = (
    "GET /v1/trips",
    "POST /v1/trips",
    "GET /v1/trips/{id}",
    "PUT /v1/trips/{id}",
    "DELETE /v1/trips/{id}",
    "PATCH /v1/trips/{id}/status",
    "GET /v1/trips/{id}/todos/{todoId}",
    "PUT /v1/trips/{id}/members/{userId}/role",
    "GET /v1/users/me",
    "GET /v1/users/{id}",
    "GET /v1/users/{id}/preferences",
    "GET /invite/accept/{token}",
    "GET /.well-known/jwks.json",
)


async def handler(call: Call) -> None: ...


def table(*keys: str) -> Routes:
    routes = Routes("test")
    for key in keys:
        method, _, path = key.partition(" ")
        routes.route(method, path)(handler)
    return routes


router = Router(table(*DECLARED))


def matched(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    found = router.match(method, path)
    return None if found is None else (found[0].key, dict(found[1]))


@given(st.sampled_from(DECLARED), st.data())
def test_every_declared_path_matches_with_its_parameters(key: str, data: st.DataObject) -> None:
    method, _, path = key.partition(" ")
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=40)
    values = {name: data.draw(text, label=name) for name in names}
    assume("me" not in values.values())  # "me" has its own static route
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    assert matched(method, path) == (key, values)


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_path_crashes_it(text: str) -> None:
    router.match("GET", text)
    router.match("GET", "/v1/trips/" + text)
    router.without_slash("GET", text + "/")


def test_an_escaped_slash_stays_in_its_parameter() -> None:
    assert matched("GET", "/v1/trips/a%2Fb") == ("GET /v1/trips/{id}", {"id": "a/b"})
    assert matched("GET", "/v1/trips/a%2Fstatus") == ("GET /v1/trips/{id}", {"id": "a/status"})


def test_static_text_takes_precedence_over_a_parameter() -> None:
    assert matched("GET", "/v1/users/me") == ("GET /v1/users/me", {})
    assert matched("GET", "/v1/users/you") == ("GET /v1/users/{id}", {"id": "you"})


def test_a_parameter_matches_if_the_static_text_leads_nowhere() -> None:
    assert matched("GET", "/v1/users/me/preferences") == ("GET /v1/users/{id}/preferences", {"id": "me"})


def test_escaped_letters_match_static_text() -> None:
    assert matched("GET", "/v1/tr%69ps") == ("GET /v1/trips", {})


@pytest.mark.parametrize("escape", ["%ff", "%C3%28", "%ed%a0%80", "%", "%4", "%zz", "%00", "a%00b"])
def test_invalid_escapes_and_nul_match_nothing(escape: str) -> None:
    assert matched("GET", f"/v1/trips/{escape}") is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/v1"),
        ("GET", "/v2/trips"),
        ("GET", "/v1/trips//todos/x"),
        ("GET", "//v1/trips"),
        ("GET", "/V1/trips"),
        ("HEAD", "/v2/trips"),
        ("BREW", "/v1/trips"),
        ("PUT", "/v1/trips"),
        ("GET", "v1/trips"),
        ("GET", "/v1/trips/a/status"),
    ],
)
def test_an_undeclared_path_matches_nothing(method: str, path: str) -> None:
    assert matched(method, path) is None


def test_a_trailing_slash_is_resolved_to_the_path_without_it() -> None:
    assert matched("GET", "/v1/trips/") is None
    assert router.without_slash("GET", "/v1/trips/") == "/v1/trips"
    assert router.without_slash("GET", "/v1/trips/a%2Fb/") == "/v1/trips/a%2Fb"


@pytest.mark.parametrize("path", ["/", "", "/v1/trips", "/v1/trips//", "/v1/", "//evil.example/", "/nowhere/"])
def test_other_paths_have_no_path_without_slash(path: str) -> None:
    assert router.without_slash("GET", path) is None


def test_a_trailing_slash_is_resolved_for_the_requested_method_only() -> None:
    assert router.without_slash("DELETE", "/v1/trips/") is None


def test_routes_that_match_the_same_requests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"GET /v1/trips/\{id\} matches the same requests"):
        Router(table("GET /v1/trips/{id}", "GET /v1/trips/{tripId}"))


@pytest.mark.parametrize("path", ["v1/trips", "/v1/trips/", "/v1//trips"])
def test_unreachable_routes_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="a path starts with a slash"):
        Router(table(f"GET {path}"))

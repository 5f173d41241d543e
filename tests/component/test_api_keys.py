"""API keys: created, used on both hosts, and ended."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.api_keys.model import MAX_KEYS
from nomadcrew.core.ids import UserId
from nomadcrew.web.routes import Auth, Route
from tests.component.requests import PASSWORD
from tests.world import User, World

BOTH = pytest.mark.parametrize("host", ["call", "invoke"])


async def key_of(here: World, user: User, **fields: Any) -> User:
    """The user with a new API key in place of the token."""
    body = {"name": f"key {here.ports.new_id()}", "scope": "write"} | fields
    reply = await here.call("POST", "/v1/auth/keys", by=user, body=body)
    assert reply.status == 201, reply.body
    return User(user.id, user.email, user.username, reply.json["key"])


@BOTH
async def test_a_key_is_accepted_as_its_user(here: World, host: str) -> None:
    ana = await here.user("ana")
    trip = await here.trip(ana)
    key = await key_of(here, ana)
    send = getattr(here, host)
    assert (await send("GET", "/v1/users/me", by=key)).json["id"] == str(ana.id)
    made = await send("POST", f"/v1/trips/{trip}/todos", by=key, body={"text": "by a program"})
    assert (made.status, made.json["createdBy"]) == (201, str(ana.id))


@BOTH
async def test_a_key_for_reading_writes_nothing(here: World, host: str) -> None:
    ana = await here.user("ana")
    trip = await here.trip(ana)
    key = await key_of(here, ana, scope="read")
    send = getattr(here, host)
    assert (await send("GET", f"/v1/trips/{trip}", by=key)).status == 200
    assert (await send("HEAD", f"/v1/trips/{trip}", by=key)).status == 200
    refused = await send("POST", f"/v1/trips/{trip}/todos", by=key, body={"text": "no"})
    assert (refused.status, refused.code) == (403, "api_key_read_only")


@BOTH
async def test_a_key_for_a_trip_reaches_no_other_path(here: World, host: str) -> None:
    ana = await here.user("ana")
    chosen, other = await here.trip(ana), await here.trip(ana, name="other")
    key = await key_of(here, ana, tripIds=[str(chosen)])
    send = getattr(here, host)
    assert (await send("GET", f"/v1/trips/{chosen}", by=key)).status == 200
    for path in (f"/v1/trips/{other}", "/v1/trips/no-id", "/v1/trips", "/v1/users/me", "/v1/events"):
        refused = await send("GET", path, by=key)
        assert (refused.status, refused.code) == (403, "api_key_other_trips"), path


async def test_a_key_has_no_more_rights_on_a_trip_than_its_user_has_now(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    key = await key_of(here, ben, tripIds=[str(trip)])
    assert (await here.call("PUT", f"/v1/trips/{trip}", by=key, body={"name": "mine"})).status == 403
    assert (await here.call("DELETE", f"/v1/trips/{trip}/members/{ben.id}", by=ana)).status == 204
    refused = await here.call("GET", f"/v1/trips/{trip}", by=key)
    assert (refused.status, refused.code) == (403, "not_trip_member")


REFUSING = [route for route in ALL_ROUTES if route.auth is not Auth.PUBLIC and not route.takes_keys]


def test_rows_on_accounts_and_other_credentials_take_no_keys() -> None:
    guarded = ("/v1/auth/", "/v1/calendars", "/v1/users/push-token", "/v1/users/onboard", "/v1/users/sync")
    for route in ALL_ROUTES:
        if route.auth is not Auth.PUBLIC and (route.path.startswith(guarded) or "contact-email" in route.path):
            assert not route.takes_keys, route.key


@pytest.mark.parametrize("route", REFUSING, ids=lambda route: route.key)
async def test_a_row_that_takes_no_keys_refuses_one_of_all_rights(here: World, route: Route) -> None:
    key = await key_of(here, await here.user("ana"))
    path = route.path.replace("{keyId}", str(key.id)).replace("{sessionId}", str(key.id))
    refused = await here.call(route.method, path.replace("{calendar}", str(key.id)), by=key, body={})
    assert (refused.status, refused.code) == (403, "api_key_not_accepted")


async def test_a_key_is_shown_once_and_stored_as_a_hash(here: World) -> None:
    ana = await here.user("ana")
    key = await key_of(here, ana, name="backup", scope="read")
    [listed] = (await here.call("GET", "/v1/auth/keys", by=ana)).json["keys"]
    assert (listed["name"], listed["scope"]) == ("backup", "read")
    assert "key" not in listed
    assert "tripIds" not in listed
    async with here.pool.connection() as connection:
        [row] = await connection.fetch("SELECT * FROM api_keys")
    assert key.token.encode() not in msgspec.json.encode([str(value) for value in row.values()])


async def test_a_deleted_key_is_refused(here: World) -> None:
    ana = await here.user("ana")
    key = await key_of(here, ana)
    [listed] = (await here.call("GET", "/v1/auth/keys", by=ana)).json["keys"]
    assert (await here.call("DELETE", f"/v1/auth/keys/{listed['id']}", by=ana)).status == 204
    refused = await here.call("GET", "/v1/users/me", by=key)
    assert (refused.status, refused.code) == (401, "invalid_api_key")


async def test_a_key_ends_at_its_time(here: World) -> None:
    ana = await here.user("ana")
    key = await key_of(here, ana, expiresAt=(here.clock() + timedelta(hours=1)).isoformat())
    assert (await here.call("GET", "/v1/users/me", by=key)).status == 200
    here.clock.advance(3600)
    refused = await here.call("GET", "/v1/users/me", by=key)
    assert (refused.status, refused.code) == (401, "invalid_api_key")


@pytest.mark.parametrize("days", [-1, 0, 367])
async def test_the_end_of_a_key_is_within_a_year(here: World, days: int) -> None:
    ana = await here.user("ana")
    body = {"name": "late", "scope": "read", "expiresAt": (here.clock() + timedelta(days=days)).isoformat()}
    refused = await here.call("POST", "/v1/auth/keys", by=ana, body=body)
    assert (refused.status, refused.code) == (400, "invalid_api_key_expiry")


async def test_a_key_without_an_end_lasts_a_year(here: World) -> None:
    ana = await here.user("ana")
    await key_of(here, ana)
    [listed] = (await here.call("GET", "/v1/auth/keys", by=ana)).json["keys"]
    assert listed["expiresAt"][:10] == (here.clock() + timedelta(days=365)).isoformat()[:10]


@pytest.mark.parametrize(
    "fields", [{"name": ""}, {"name": " "}, {"name": "x" * 101}, {"scope": "admin"}, {"tripIds": []}], ids=str
)
async def test_an_invalid_key_is_refused(here: World, fields: dict[str, Any]) -> None:
    ana = await here.user("ana")
    body = {"name": "script", "scope": "read"} | fields
    assert (await here.call("POST", "/v1/auth/keys", by=ana, body=body)).status == 400


async def test_a_user_has_a_bounded_number_of_keys(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    for number in range(MAX_KEYS):
        await key_of(here, ana, name=f"key {number}")
        here.clock.advance(7)
    body = {"name": "one more", "scope": "read"}
    refused = await here.call("POST", "/v1/auth/keys", by=ana, body=body)
    assert (refused.status, refused.code) == (409, "too_many_api_keys")
    assert (await here.call("POST", "/v1/auth/keys", by=ben, body=body)).status == 201


async def test_a_key_spends_its_own_limits(here: World) -> None:
    ana = await here.user("ana")
    key = await key_of(here, ana)
    first = await here.call("GET", "/v1/users/me", by=key)
    assert first.headers["x-ratelimit-remaining"] == "599"
    await here.call("GET", "/v1/users/me", by=ana)
    again = await here.call("GET", "/v1/users/me", by=key)
    assert again.headers["x-ratelimit-remaining"] == "598"


async def test_a_refused_key_counts_against_its_address(here: World) -> None:
    forged = User((await here.user("ana")).id, "", "", "nck_guessed")
    replies = [(await here.call("GET", "/v1/users/me", by=forged)).status for _ in range(130)]
    assert (replies[0], replies[-1]) == (401, 429)


@pytest.mark.parametrize("way", ["changed", "by an administrator"])
async def test_a_new_password_ends_all_keys(here: World, way: str) -> None:
    body = {"email": "ana@example.org", "password": PASSWORD, "username": "ana"}
    made = (await here.call("POST", "/v1/auth/register", body=body)).json
    ana = User(UserId(UUID(made["user"]["id"])), "", "ana", made["access_token"])
    key = await key_of(here, ana)
    if way == "changed":
        body = {"password": PASSWORD, "new_password": f"{PASSWORD}-new"}
        assert (await here.call("POST", "/v1/auth/change-password", by=ana, body=body)).status == 200
    else:
        await here.ports.accounts.set_password(ana.id, f"{PASSWORD}-new", now=here.clock())
    assert (await here.call("GET", "/v1/users/me", by=key)).status == 401


async def test_the_last_use_of_a_key_is_listed(here: World) -> None:
    ana = await here.user("ana")
    key = await key_of(here, ana)
    [unused] = (await here.call("GET", "/v1/auth/keys", by=ana)).json["keys"]
    assert "lastUsedAt" not in unused
    await here.call("GET", "/v1/users/me", by=key)
    async with here.pool.connection() as connection:  # the write runs beside the request
        while await connection.fetchval("SELECT last_used_at FROM api_keys") is None:
            pass
    [used] = (await here.call("GET", "/v1/auth/keys", by=ana)).json["keys"]
    assert used["lastUsedAt"] == "2026-11-22T12:00:00Z"


async def test_expired_keys_are_deleted_after_a_month(here: World) -> None:
    ana = await here.user("ana")
    await key_of(here, ana, expiresAt=(here.clock() + timedelta(hours=1)).isoformat())
    await key_of(here, ana)
    later = here.clock() + timedelta(days=32, hours=1)
    assert await here.ports.retention.delete_api_keys(later) == 0
    assert await here.ports.retention.delete_api_keys(later + timedelta(seconds=1)) == 1
    assert len((await here.call("GET", "/v1/auth/keys", by=ana)).json["keys"]) == 1

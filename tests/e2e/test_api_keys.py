"""API keys, as a program uses them."""

from tests.e2e.client import Api, User, eventually
from tests.e2e.conftest import Register

# On AWS the gateway remembers an accepted key for a minute.
REMEMBERED_S = 75.0


async def test_a_program_works_with_a_key_until_it_is_deleted(api: Api, register: Register) -> None:
    ana = await register("ana")
    trip_id, other_id = await ana.new_trip(), await ana.new_trip(name="Tokyo")
    wanted = {"name": "to-do robot", "scope": "write", "tripIds": [trip_id]}
    made = await ana.ask("POST", "/v1/auth/keys", wanted, status=201)
    robot = User(api, ana.id, ana.email, ana.username, made["key"], "")

    todo = await robot.ask("POST", f"/v1/trips/{trip_id}/todos", {"text": "charge"}, status=201)
    assert todo["createdBy"] == ana.id
    for path, code in ((f"/v1/trips/{other_id}", "api_key_other_trips"), ("/v1/auth/keys", "api_key_not_accepted")):
        refused = await robot.send("GET", path)
        assert (refused.status_code, refused.json()["code"]) == (403, code)

    async def listed_use() -> bool:
        [listed] = (await ana.ask("GET", "/v1/auth/keys"))["keys"]
        return "lastUsedAt" in listed

    await eventually(listed_use)
    await ana.ask("DELETE", f"/v1/auth/keys/{made['id']}", status=204)

    async def refused_key() -> bool:
        reply = await robot.send("GET", f"/v1/trips/{trip_id}")
        return reply.status_code == 401 and reply.json()["code"] == "invalid_api_key"

    await eventually(refused_key, within_s=REMEMBERED_S)


async def test_a_mistyped_key_is_refused(api: Api) -> None:
    for key in ("nck_", "nck_" + "0" * 36):
        reply = await api.send("GET", "/v1/users/me", headers={"authorization": f"Bearer {key}"})
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_api_key")

import json

from tests.e2e.conftest import Connect, Register


async def test_probe(server, register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    s = await connect(ben)
    trip = await ana.new_trip()
    await ana.bring(trip, ben)
    await ana.new_todo(trip, "boots")
    await s.event("TODO_CREATED")
    await s.event("MEMBER_ADDED")
    print(json.dumps(s.frames, indent=1))
    print(json.dumps(await ben.ask("GET", f"/v1/trips/{trip}"), indent=1))
    for n in ["/docs", "/openapi.json", "/health", "/health/liveness", "/metrics"]:
        print(n, await ana.api.send("GET", n))

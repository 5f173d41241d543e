"""The policies that the MQTT authorizer returns, evaluated as IoT Core does."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws.topics import UpdatesOf
from nomadcrew.core.ids import TripId, uuid7
from nomadcrew.hosts.aws.mqtt_event import MAX_POLICIES, MAX_POLICY_CHARS, mqtt_authorizer_entry, policies
from tests.fakes import FakeOpenSessions
from tests.lambda_loops import close_lambda_loops
from tests.postgres import Postgres
from tests.world import User, World, world

__all__ = ["close_lambda_loops"]

ARN = "arn:aws:iot:eu-west-1:000000000000"
TOPIC_OF = UpdatesOf("nc/dev")


@dataclass
class Call:
    """A Lambda context."""

    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:000000000000:function:nomadcrew-dev-mqtt:live"

    def get_remaining_time_in_millis(self) -> int:
        return 5_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(postgres, tmp_path_factory.mktemp("mqtt"), template=template) as made:
        yield made


class Threaded:
    """A port for a function that runs on its own event loop; calls run on this loop, which the pool belongs to."""

    def __init__(self, port: Any) -> None:
        self._port, self._loop = port, asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            future = asyncio.run_coroutine_threadsafe(getattr(self._port, name)(*arguments, **named), self._loop)
            return await asyncio.wrap_future(future)

        return call


async def authorize(
    stage: World, token: str, client_id: str, *, in_query: bool = False, sessions: FakeOpenSessions | None = None
) -> dict[str, Any]:
    """The authorizer's answer."""
    ports = replace(
        stage.ports,
        members=Threaded(stage.ports.members),
        verifier=Threaded(stage.ports.verifier),
        topic_of=TOPIC_OF,
        open_sessions=sessions or FakeOpenSessions(),
    )
    handler = mqtt_authorizer_entry(lambda _: ports, ("members", "open_sessions", "topic_of", "verifier"))
    data: dict[str, Any] = {"mqtt": {"username": "any", "clientId": client_id}}
    if in_query:
        data["http"] = {"queryString": f"?token={token}"}
    else:
        data["mqtt"]["password"] = base64.b64encode(token.encode()).decode()
    event = {"protocolData": data, "protocols": ["mqtt", "http"], "signatureVerified": False}
    answer: dict[str, Any] = await asyncio.to_thread(handler, event, Call())
    return answer


def allows(answer: dict[str, Any], action: str, resource: str) -> bool:
    """True if a policy allows the action. Asserts that policies have no wildcards."""
    for document in answer.get("policyDocuments", ()):
        for statement in json.loads(document)["Statement"]:
            resources = statement["Resource"]
            named = [resources] if isinstance(resources, str) else resources
            assert not any(sign in text for text in (*named, statement["Action"]) for sign in "*?+#")
            if (statement["Effect"], statement["Action"]) == ("Allow", action) and f"{ARN}:{resource}" in named:
                return True
    return False


def device_of(person: User) -> str:
    return f"{person.id}-phone"


async def trip_with(stage: World, owner: User, *members: User) -> UUID:
    trip_id = await stage.trip(owner)
    for member in members:
        await stage.join(trip_id, owner, member, "MEMBER")
    return trip_id


async def test_a_member_may_connect_and_subscribe_to_own_trips(stage: World) -> None:
    ana, ben = await stage.user("ana-1"), await stage.user("ben-1")
    trip_id = await trip_with(stage, ana, ben)
    topic = TOPIC_OF(TripId(trip_id))
    for in_query in (False, True):
        answer = await authorize(stage, ben.token, device_of(ben), in_query=in_query)
        assert answer["isAuthenticated"] is True
        assert answer["principalId"] == ben.id.hex
        assert answer["refreshAfterInSeconds"] == 300
        assert 300 <= answer["disconnectAfterInSeconds"] <= 86_400
        assert allows(answer, "iot:Connect", f"client/{device_of(ben)}")
        assert allows(answer, "iot:Subscribe", f"topicfilter/{topic}")
        assert allows(answer, "iot:Receive", f"topic/{topic}")


async def test_an_outsider_may_connect_but_not_subscribe_to_the_trip(stage: World) -> None:
    ana, eve = await stage.user("ana-2"), await stage.user("eve-2")
    topic = TOPIC_OF(TripId(await trip_with(stage, ana)))
    answer = await authorize(stage, eve.token, device_of(eve))
    assert allows(answer, "iot:Connect", f"client/{device_of(eve)}")
    assert not allows(answer, "iot:Subscribe", f"topicfilter/{topic}")
    assert not allows(answer, "iot:Receive", f"topic/{topic}")


async def test_a_removed_member_loses_the_topic_at_the_next_refresh(stage: World) -> None:
    ana, ben = await stage.user("ana-3"), await stage.user("ben-3")
    trip_id = await trip_with(stage, ana, ben)
    topic = TOPIC_OF(TripId(trip_id))
    assert allows(await authorize(stage, ben.token, device_of(ben)), "iot:Receive", f"topic/{topic}")
    await stage.call("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}", by=ana)
    assert not allows(await authorize(stage, ben.token, device_of(ben)), "iot:Receive", f"topic/{topic}")


async def test_clients_may_not_publish(stage: World) -> None:
    ana = await stage.user("ana-4")
    topic = TOPIC_OF(TripId(await trip_with(stage, ana)))
    answer = await authorize(stage, ana.token, device_of(ana))
    actions = {s["Action"] for text in answer["policyDocuments"] for s in json.loads(text)["Statement"]}
    assert actions == {"iot:Connect", "iot:Subscribe", "iot:Receive"}
    assert not allows(answer, "iot:Publish", f"topic/{topic}")


async def test_connecting_with_a_foreign_client_id_or_without_a_token_is_refused(stage: World) -> None:
    ana, ben = await stage.user("ana-5"), await stage.user("ben-5")
    refused = {"isAuthenticated": False}
    for token, client_id in (
        (ana.token, device_of(ben)), (ana.token, str(ana.id)), (ana.token, ""), ("", device_of(ana)),
        ("not.a.token", device_of(ana)),
    ):  # fmt: skip
        assert await authorize(stage, token, client_id) == refused
    broken = {"protocolData": {"mqtt": {"clientId": device_of(ana), "password": "no base64!"}}}
    handler = mqtt_authorizer_entry(lambda _: replace(stage.ports, topic_of=TOPIC_OF), ())
    assert await asyncio.to_thread(handler, broken, Call()) == refused


@pytest.mark.parametrize("count", [0, 1, 8, 9, 60, 500])
def test_policies_stay_within_the_limits_for_any_number_of_trips(count: int) -> None:
    topics = [TOPIC_OF(TripId(uuid7())) for _ in range(count)]
    documents = policies(ARN, "a-client", topics)
    assert len(documents) <= MAX_POLICIES
    assert all(len(document) <= MAX_POLICY_CHARS for document in documents)
    allowed = [topic for topic in topics if allows({"policyDocuments": documents}, "iot:Receive", f"topic/{topic}")]
    assert allowed == topics[: len(allowed)]
    assert len(allowed) == count or len(allowed) >= 50


async def test_a_client_whose_session_has_ended_loses_its_connection(stage: World) -> None:
    ana = await stage.user("ana-9")
    claims = await stage.ports.verifier.verify(ana.token, now=stage.ports.clock())
    assert claims.session_id is not None
    sessions = FakeOpenSessions({claims.session_id})
    assert await authorize(stage, ana.token, device_of(ana), sessions=sessions) == {"isAuthenticated": False}

"""A dead connection for which API Gateway never sends `$disconnect`."""

import time
from uuid import uuid4

from rehearsal.running import Rehearsal
from tests.e2e.client import eventually
from tests.e2e.conftest import Register
from tests.e2e.test_chat import trip_of_two
from tests.e2e.test_presence import presence
from tests.rehearsal.sdk import client


async def test_a_dead_connection_leaves_its_user_offline(rehearsal: Rehearsal, register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    dynamodb, connection_id, now_s = client(rehearsal, "dynamodb"), f"gone-{uuid4()}", int(time.time())
    user_id, until = {"S": ben.id}, {"N": str(now_s + 3600)}

    async def online() -> bool:
        return bool((await presence(ana, trip_id))[ben.id]["isOnline"])

    async def offline() -> bool:
        return not await online()

    dynamodb.put_item(
        TableName="nomadcrew-rehearsal-Presence",
        Item={"userId": user_id, "sockets": {"SS": [connection_id]}, "until": until},
    )
    assert await online()
    dynamodb.put_item(
        TableName="nomadcrew-rehearsal-WebSocketConnections",
        Item={
            "connectionId": {"S": connection_id}, "userId": user_id, "connectedAt": {"N": str(now_s - 3600)},
            "expiresAt": until, "ttl": until,
        },
    )  # fmt: skip
    client(rehearsal, "lambda").invoke(
        FunctionName="nomadcrew-rehearsal-keepalive", Qualifier="live", Payload=b"{}"
    )
    await eventually(offline)

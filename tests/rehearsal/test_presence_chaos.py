"""A socket of which the gateway never says that it has gone, as it reserves the right to."""

import time
from uuid import uuid4

from rehearsal.running import Rehearsal
from tests.e2e.client import eventually
from tests.e2e.conftest import Register
from tests.e2e.test_chat import crew
from tests.e2e.test_presence import presence
from tests.rehearsal.account import client


async def test_a_socket_that_went_without_a_word_leaves_nobody_online(
    rehearsal: Rehearsal, register: Register
) -> None:
    ana, ben, trip_id = await crew(register)
    dynamodb, connection_id, now_s = client(rehearsal, "dynamodb"), f"gone-{uuid4()}", int(time.time())
    who, until = {"S": ben.id}, {"N": str(now_s + 3600)}

    async def online() -> bool:
        return bool((await presence(ana, trip_id))[ben.id]["isOnline"])

    async def offline() -> bool:
        return not await online()

    dynamodb.put_item(
        TableName="nomadcrew-rehearsal-Presence",
        Item={"userId": who, "sockets": {"SS": [connection_id]}, "until": until},
    )
    assert await online()
    dynamodb.put_item(
        TableName="nomadcrew-rehearsal-WebSocketConnections",
        Item={
            "connectionId": {"S": connection_id}, "userId": who, "connectedAt": {"N": str(now_s - 3600)},
            "expiresAt": until, "ttl": until,
        },
    )  # fmt: skip
    client(rehearsal, "lambda").invoke(
        FunctionName="nomadcrew-rehearsal-keepalive", Qualifier="live", Payload=b"{}"
    )
    await eventually(offline)

"""The Lambda host of IoT Core's custom authorizer: who connects by MQTT, and to which topics they may listen.

Sources: AWS IoT Core developer guide, "Custom authentication workflow" and "Defining your Lambda function": the
answer holds at most ten policies of 2,048 characters, the principal letters and digits, and the two times 300 to
86,400 seconds.
"""

import base64
import binascii
import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Entry, Event, MakePorts, event_entry

log = logging.getLogger("nomadcrew.mqtt")

MAX_POLICIES = 10
MAX_POLICY_CHARS = 2_048
MIN_S, MAX_S = 300, 86_400
NOBODY: dict[str, Any] = {"isAuthenticated": False}


def mqtt_authorizer_entry(ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """What AWS asks whether somebody may connect, and every five minutes whether they still may."""

    async def answer(event: Event, context: Any, ports: Ports) -> dict[str, Any]:
        now = ports.clock()
        try:
            claims = await ports.verifier.verify(_token(event), now=now)
        except Unauthenticated as error:
            log.info("an MQTT client was refused", extra={"fields": {"code": error.code}})
            return NOBODY
        client_id = event.get("protocolData", {}).get("mqtt", {}).get("clientId", "")
        if not client_id.startswith(f"{claims.user_id}-"):
            # Whoever connects under a client's id ends the connection that has it.
            log.info("an MQTT client was refused", extra={"fields": {"code": "client_id"}})
            return NOBODY
        topics = [ports.topic_of(trip_id) for trip_id in await ports.members.active(claims.user_id)]
        # Ours is arn:<partition>:lambda:<region>:<account>:function:…
        _, partition, _, region, account, *_ = context.invoked_function_arn.split(":")
        documents = policies(f"arn:{partition}:iot:{region}:{account}", client_id, topics)
        return _admitted(claims, documents, now)

    return event_entry(answer, ports, declared)


def policies(arn: str, client_id: str, topics: Sequence[str]) -> list[str]:
    """What a client may: connect as itself, and listen to these topics, the first that there is room for.

    Args:
        arn: that of IoT Core in an account, up to the resource.
    """
    found = [_policy(_connect(arn, client_id))]
    waiting = list(topics)
    while waiting and len(found) < MAX_POLICIES:
        count = _that_fit(arn, waiting)
        found.append(_policy(*_listen(arn, waiting[:count])))
        del waiting[:count]
    return found


def _that_fit(arn: str, topics: Sequence[str]) -> int:
    count = 1
    while count < len(topics) and len(_policy(*_listen(arn, topics[: count + 1]))) <= MAX_POLICY_CHARS:
        count += 1
    return count


def _admitted(claims: Claims, documents: list[str], now: datetime) -> dict[str, Any]:
    left_s = int((claims.expires_at - now).total_seconds())
    return {
        "isAuthenticated": True,
        "principalId": claims.user_id.hex,
        "disconnectAfterInSeconds": min(MAX_S, max(MIN_S, left_s)),
        # Who was removed from a trip hears no more of it after this.
        "refreshAfterInSeconds": MIN_S,
        "policyDocuments": documents,
    }


def _connect(arn: str, client_id: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"{arn}:client/{client_id}"}


def _listen(arn: str, topics: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": [f"{arn}:topicfilter/{one}" for one in topics]},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": [f"{arn}:topic/{one}" for one in topics]},
    ]


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _token(event: Event) -> str:
    """The token a client shows: as the MQTT password, or as `token` in the query of a WebSocket."""
    data = event.get("protocolData", {})
    password = data.get("mqtt", {}).get("password")
    if password:
        try:
            return base64.b64decode(password, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
    query = data.get("http", {}).get("queryString", "").lstrip("?")
    return str(parse_qs(query).get("token", [""])[0])

"""IoT Core's custom authorizer: authenticates MQTT clients and allows their trips' topics.

Sources: AWS IoT Core developer guide, "Custom authentication workflow" and "Defining your Lambda function". The
answer has at most ten policies of 2,048 characters; the principal consists of letters and digits; both times are
300 to 86,400 seconds.
"""

import base64
import binascii
import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from nomadcrew.core.auth.open_sessions import require_open
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Entry, Event, MakePorts, event_entry

log = logging.getLogger("nomadcrew.mqtt")

MAX_POLICIES = 10
MAX_POLICY_CHARS = 2_048
MIN_S, MAX_S = 300, 86_400
REFUSED: dict[str, Any] = {"isAuthenticated": False}


def mqtt_authorizer_entry(ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """A handler that AWS calls when a client connects, and again every five minutes."""

    async def answer(event: Event, context: Any, ports: Ports) -> dict[str, Any]:
        now = ports.clock()
        try:
            claims = await ports.verifier.verify(_token(event), now=now)
            await require_open(claims, ports.open_sessions)
        except Unauthenticated as error:
            log.info("MQTT client refused", extra={"fields": {"code": error.code}})
            return REFUSED
        client_id = event.get("protocolData", {}).get("mqtt", {}).get("clientId", "")
        if not client_id.startswith(f"{claims.user_id}-"):
            # A connection under another client's id would end that client's connection.
            log.info("MQTT client refused", extra={"fields": {"code": "client_id"}})
            return REFUSED
        topics = [ports.topic_of(trip_id) for trip_id in await ports.members.list_active_trips(claims.user_id)]
        # This function's ARN: arn:<partition>:lambda:<region>:<account>:function:…
        _, partition, _, region, account, *_ = context.invoked_function_arn.split(":")
        documents = policies(f"arn:{partition}:iot:{region}:{account}", client_id, topics)
        return _admitted(claims, documents, now)

    return event_entry(answer, ports, declared)


def policies(arn: str, client_id: str, topics: Sequence[str]) -> list[str]:
    """Policies that allow a client to connect under its id and to subscribe to topics, as many as fit.

    Args:
        arn: IoT Core's ARN in the account, up to the resource.
    """
    documents = [_policy(_connect(arn, client_id))]
    remaining = list(topics)
    while remaining and len(documents) < MAX_POLICIES:
        count = _count_that_fit(arn, remaining)
        documents.append(_policy(*_subscribe(arn, remaining[:count])))
        del remaining[:count]
    return documents


def _count_that_fit(arn: str, topics: Sequence[str]) -> int:
    count = 1
    while count < len(topics) and len(_policy(*_subscribe(arn, topics[: count + 1]))) <= MAX_POLICY_CHARS:
        count += 1
    return count


def _admitted(claims: Claims, documents: list[str], now: datetime) -> dict[str, Any]:
    left_s = int((claims.expires_at - now).total_seconds())
    return {
        "isAuthenticated": True,
        "principalId": claims.user_id.hex,
        "disconnectAfterInSeconds": min(MAX_S, max(MIN_S, left_s)),
        # A removed member loses the trip's topic at the next refresh, an ended session its connection.
        "refreshAfterInSeconds": MIN_S,
        "policyDocuments": documents,
    }


def _connect(arn: str, client_id: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"{arn}:client/{client_id}"}


def _subscribe(arn: str, topics: Sequence[str]) -> list[dict[str, Any]]:
    filters = [f"{arn}:topicfilter/{topic}" for topic in topics]
    return [
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": filters},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": [f"{arn}:topic/{topic}" for topic in topics]},
    ]


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _token(event: Event) -> str:
    """The client's token: the MQTT password, or `token` in the query of a WebSocket."""
    data = event.get("protocolData", {})
    password = data.get("mqtt", {}).get("password")
    if password:
        try:
            return base64.b64decode(password, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
    query = data.get("http", {}).get("queryString", "").lstrip("?")
    return str(parse_qs(query).get("token", [""])[0])

"""Migrates the database's schema, as a custom resource of the deployment."""

import asyncio
import json
import logging
import urllib.request
from typing import Any, Final

from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Context, Event, event_entry, seconds_left
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.migrator")

PORTS: Final = ("schema",)
# A constant, so that CloudFormation never replaces the resource: deleting the stack leaves the schema as it is.
RESOURCE = "nomadcrew-schema"
ANSWER_TIMEOUT_S = 10


async def migrate(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
    """Migrate and answer CloudFormation, or a direct caller. The log has the error, the answer its class only."""
    answer: dict[str, Any] = {"Status": "SUCCESS", "PhysicalResourceId": RESOURCE, "Data": {"Applied": ""}}
    if event.get("RequestType") != "Delete":
        try:
            async with asyncio.timeout(seconds_left(context) - ANSWER_TIMEOUT_S):
                applied = await ports.schema.bring_up_to_date()
        except Exception as error:
            log.exception("Migration failed")
            answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: see the migrator's log"}
        else:
            log.info("Schema migrated", extra={"fields": {"applied": list(applied)}})
            answer["Data"] = {"Applied": ", ".join(applied)}
    if "ResponseURL" in event:
        await asyncio.to_thread(_answer, event, answer)
    return answer


def _answer(event: Event, answer: dict[str, Any]) -> None:
    """Upload the answer to CloudFormation's URL. Without it CloudFormation waits for an hour."""
    ids = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    # The URL is signed without a content type, so the request must not send one.
    put = urllib.request.Request(  # noqa: S310 — CloudFormation's own address
        event["ResponseURL"], json.dumps(ids | answer).encode(), {"content-type": ""}, method="PUT"
    )
    with urllib.request.urlopen(put, timeout=ANSWER_TIMEOUT_S):  # noqa: S310 — the same
        pass


handler = event_entry(migrate, lambda_ports, PORTS)

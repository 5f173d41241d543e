"""Brings the database's schema up to date when a deployment asks, as one of its resources."""

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
# Never replaced: there is one schema, and a deployment that goes away leaves it as it is.
RESOURCE = "nomadcrew-schema"
ANSWER_TIMEOUT_S = 10


async def migrate(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
    """Answer CloudFormation, or whoever else calls; what failed is in the log, and its kind in the answer."""
    answer: dict[str, Any] = {"Status": "SUCCESS", "PhysicalResourceId": RESOURCE, "Data": {"Applied": ""}}
    if event.get("RequestType") != "Delete":
        try:
            async with asyncio.timeout(seconds_left(context) - ANSWER_TIMEOUT_S):
                applied = await ports.schema.bring_up_to_date()
        except Exception as error:
            log.exception("the schema is not up to date")
            answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: see the migrator's log"}
        else:
            log.info("migrated", extra={"fields": {"applied": list(applied)}})
            answer["Data"] = {"Applied": ", ".join(applied)}
    if "ResponseURL" in event:
        await asyncio.to_thread(_answer, event, answer)
    return answer


def _answer(event: Event, answer: dict[str, Any]) -> None:
    """Put the answer where CloudFormation looks for it, or it would wait for an hour."""
    same = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    # Signed without a type of content, so none may be sent.
    put = urllib.request.Request(  # noqa: S310 — CloudFormation's own address
        event["ResponseURL"], json.dumps(same | answer).encode(), {"content-type": ""}, method="PUT"
    )
    with urllib.request.urlopen(put, timeout=ANSWER_TIMEOUT_S):  # noqa: S310 — the same
        pass


handler = event_entry(migrate, lambda_ports, PORTS)

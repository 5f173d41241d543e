"""Authorizes requests to the HTTP API: verifies the access token or API key of a header.

API Gateway would answer a denial with 403, but clients refresh their token only after a 401. So an invalid token is
passed on as a refusal, with which the function of the route answers. API Gateway remembers each answer for a while,
except for an error, such as an outage, which it answers with 500.
"""

import logging
from typing import Any

import msgspec

from nomadcrew.core.claims import API_KEY_PREFIX
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Context, Entry, Event, MakePorts, event_entry
from nomadcrew.web.call import bearer

log = logging.getLogger("nomadcrew.authorizer")


def http_authorizer_entry(ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """A handler that AWS calls before a request, with payload 2.0 and a simple response."""

    async def answer(event: Event, _context: Context, ports: Ports) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        try:
            token = bearer(headers)
            verifier = ports.key_verifier if token.startswith(API_KEY_PREFIX) else ports.verifier
            claims = await verifier.verify(token, now=ports.clock())
        except Unauthenticated as error:
            log.info("Request refused", extra={"fields": {"code": error.code}})
            return _passing(code=error.code, text=error.text)
        return _passing(claims=msgspec.json.encode(claims).decode())

    return event_entry(answer, ports, declared)


def _passing(**context: str) -> dict[str, Any]:
    return {"isAuthorized": True, "context": context}

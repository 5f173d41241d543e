"""Cognito trigger after a user's confirmation: creates the account in SQL.

If `auth` confirmed the user, SQL has the account already and nothing changes. The trigger is for users whom an
operator confirms by hand.
"""

import logging
from typing import Any, Final

from nomadcrew.core.auth.errors import ConfirmationUsed, InvalidConfirmation
from nomadcrew.core.auth.ports import RegistrationId
from nomadcrew.core.ids import parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.core.users.rules import suffix_of
from nomadcrew.hosts.aws.entry import event_entry
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.confirmed")

PORTS: Final = ("registrations",)
SIGNED_UP = "PostConfirmation_ConfirmSignUp"


async def store_confirmed(event: dict[str, Any], _context: object, ports: Ports) -> dict[str, Any]:
    """Turn the registration with the confirmed user's name into an account, unless it is one; return the event.

    Raises:
        Unavailable: Cognito retries twice.
    """
    if event.get("triggerSource") != SIGNED_UP:
        return event
    username = event.get("userName")
    id_ = parse_uuid(username) if isinstance(username, str) else None
    if id_ is None:
        log.warning("Cognito confirmed a user without a registration")
        return event
    try:
        await ports.registrations.confirm(RegistrationId(id_), suffix_of(id_), now=ports.clock())
    except ConfirmationUsed:
        return event
    except InvalidConfirmation:
        # Sign-in refuses this user as unknown, as before.
        log.warning("Cognito confirmed a deleted registration", extra={"fields": {"registration_id": str(id_)}})
    return event


handler = event_entry(store_confirmed, lambda_ports, PORTS)

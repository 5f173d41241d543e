"""What Cognito tells us once somebody is confirmed: that person has an account.

Where `auth` confirms, SQL has it already, and this changes nothing. It is for those whom somebody confirms by hand.
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


async def keep(event: dict[str, Any], _context: object, ports: Ports) -> dict[str, Any]:
    """Make an account of the registration that the confirmed user is named for, unless it is one.

    Cognito wants the event back.

    Raises:
        Unavailable: not now; Cognito asks twice more.
    """
    if event.get("triggerSource") != SIGNED_UP:
        return event
    named = event.get("userName")
    id_ = parse_uuid(named) if isinstance(named, str) else None
    if id_ is None:
        log.warning("confirmed somebody who never registered")
        return event
    try:
        await ports.registrations.confirm(RegistrationId(id_), suffix_of(id_), now=ports.clock())
    except ConfirmationUsed:
        return event
    except InvalidConfirmation:
        # Signing in says that nobody is there, as before.
        log.warning("confirmed a registration that is gone", extra={"fields": {"registration_id": str(id_)}})
    return event


handler = event_entry(keep, lambda_ports, PORTS)

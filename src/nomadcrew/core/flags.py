"""Switches that are thrown while everything runs."""

from typing import Protocol

REGISTRATION = "registration"  # whether anybody may register, where the site's settings allow it


class Flags(Protocol):
    async def enabled(self, name: str, *, otherwise: bool) -> bool:
        """Whether a flag is on; `otherwise` where nobody has said so.

        Never raises: in an outage it is as it was known last. A change is seen within a minute.
        """
        ...

"""Feature flags, changed at runtime."""

from typing import Protocol

REGISTRATION = "registration"  # opens registration, if the site's settings allow it


class Flags(Protocol):
    async def enabled(self, name: str, *, otherwise: bool) -> bool:
        """True if a flag is on; `otherwise` if it is not set.

        Never raises: in an outage it returns the last known value. A change takes effect within a minute.
        """
        ...

"""Pushes where no service is set."""

from collections.abc import Mapping, Sequence

from nomadcrew.core.notifications.push import PushError, PushMessage, Ticket


class SilentPush:
    """`Push` that sends nothing anywhere, and says so."""

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        return [Ticket(error=PushError.REFUSED) for _ in messages]

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:  # noqa: ARG002 — the port's
        return {}

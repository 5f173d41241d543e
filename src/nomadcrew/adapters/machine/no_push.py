"""Pushes if no push service is configured."""

from collections.abc import Mapping, Sequence

from nomadcrew.core.notifications.push import PushError, PushMessage, Ticket


class NoPush:
    """`Push` that sends nothing; every ticket is an error."""

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        return [Ticket(error=PushError.REFUSED) for _ in messages]

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:  # noqa: ARG002 — the port's
        return {}

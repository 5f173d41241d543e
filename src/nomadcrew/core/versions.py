"""Versions of entities, for writes that name the version they are based on."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from nomadcrew.core.errors import Conflict


class Versioned(StrEnum):
    """The entities that have versions: the times of their last change."""

    TRIP = "trip"
    TODO = "todo"
    POLL = "poll"
    DOCUMENT = "document"
    PROFILE = "profile"


class LostUpdate(Conflict):
    """The write would undo changes that its writer has not seen.

    `current` is the entity and `sent` the refused body, each as JSON text.
    """

    code = "version_conflict"
    text = "This was changed meanwhile. Compare both versions, and send the change again."

    def __init__(self, current: bytes, sent: bytes) -> None:
        super().__init__()
        self.current = current
        self.sent = sent


class Versions(Protocol):
    def held(self) -> AbstractAsyncContextManager[None]:
        """The block in which an entity stays as `is_overtaken` found it. An exception undoes its writes."""
        ...

    async def is_overtaken(self, of: Versioned, id_: UUID, base: datetime, wanted: Mapping[str, object]) -> bool:
        """True if a field in `wanted` got another value after `base`; also if `base` is in the future.

        Fields have the names of the entity's struct. False if there is no such entity. Call it in `held`.
        """
        ...

"""Bodies of synchronisation. An entity's `data` is what its own routes return."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from nomadcrew.core.sync.model import Kind


class ChangeView(Struct, rename="camel"):
    """An entity as it is now, or its tombstone, which is `deleted` and has no `data`.

    A message has each of its reactions in `reactions`. `etag` is for the If-Match of a change. The id of a receipt
    is its reader's, the id of `sharing` and `tripPreferences` that of their trip; `tripId` is absent for entities
    of the caller alone.
    """

    kind: Kind
    id: UUID
    trip_id: UUID | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET
    data: Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET
    reactions: Annotated[Raw, Meta(extra_json_schema={"type": "array"})] | UnsetType = UNSET
    etag: str | UnsetType = UNSET


class SyncView(Struct, rename="camel"):
    """Changes in the order to apply them. `cursor` is the next request's `since`, also if there are no more now."""

    changes: list[ChangeView]
    cursor: str
    has_more: bool

"""Pictures and their quotas, on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, command_row, gate, json_param, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import EventId, PictureId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.pictures.model import (
    MAX_PHOTO_BYTES,
    MAX_PHOTOS,
    NewPicture,
    NotPictureOwner,
    Picture,
    PictureNotFound,
    TooManyPhotos,
)
from nomadcrew.core.retention import FINGERPRINT_RETENTION

_SQL = statements("pictures")
REFUSALS: Refusals = {
    "image_not_found": PictureNotFound,
    "not_image_owner": NotPictureOwner,
    "image_quota_exceeded": TooManyPhotos,
}


class PostgresPictures:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def reserve(self, access: Access, new: NewPicture, *, fingerprint: bytes, now: datetime) -> PictureId:
        [row] = await self._sql.fetch(
            _SQL["reserve"],
            **gate(access),
            **_new(new, fingerprint, now),
            max_photos=MAX_PHOTOS,
            max_bytes=MAX_PHOTO_BYTES,
        )
        return await self._reserved(row["verdict"], new, fingerprint)

    async def reserve_avatar(
        self, caller: UserId, new: NewPicture, *, fingerprint: bytes, now: datetime
    ) -> PictureId:
        [row] = await self._sql.fetch(_SQL["reserve_avatar"], caller=caller, **_new(new, fingerprint, now))
        return await self._reserved(row["verdict"], new, fingerprint)

    async def _reserved(self, verdict: str, new: NewPicture, fingerprint: bytes) -> PictureId:
        if raise_for_verdict(verdict, "replayed", also=REFUSALS) == "ok":
            return new.id
        stored = await self._sql.fetch(_SQL["replayed"], fingerprint=fingerprint)
        if not stored:
            raise PictureNotFound
        return PictureId(stored[0]["id"])

    async def complete(self, command: Command, picture_id: PictureId, kind: FileKind, size_bytes: int) -> Picture:
        [row] = await self._sql.fetch(
            _SQL["complete"],
            **gate(command),
            id=picture_id,
            media_type=kind.value,
            size_bytes=size_bytes,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return _picture(row)

    async def get(self, access: Access, picture_id: PictureId) -> Picture:
        [row] = await self._sql.fetch(_SQL["one"], **gate(access), id=picture_id)
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return _picture(row)

    async def page(self, access: Access, *, limit: int, after: After | None = None) -> Sequence[Picture]:
        rows = await self._sql.fetch(_SQL["page"], **gate(access), limit=limit, **after_columns(after))
        raise_for_verdict(rows[0]["verdict"])
        return [_picture(row) for row in rows if row["id"] is not None]

    async def delete(self, command: Command, picture_id: PictureId) -> None:
        [row] = await self._sql.fetch(_SQL["delete"], **command_row(command), id=picture_id)
        raise_for_verdict(row["verdict"], also=REFUSALS)

    async def get_avatar(self, picture_id: PictureId) -> Picture | None:
        rows = await self._sql.fetch(_SQL["avatar"], id=picture_id)
        return _picture(rows[0]) if rows else None

    async def get_unrendered(self, picture_id: PictureId) -> Picture | None:
        rows = await self._sql.fetch(_SQL["unrendered"], id=picture_id)
        return _picture(rows[0]) if rows else None

    async def rendered(
        self, picture_id: PictureId, size_px: tuple[int, int] | None, event_id: EventId, *, now: datetime
    ) -> None:
        width_px, height_px = size_px or (None, None)
        await self._sql.fetch(
            _SQL["rendered"], id=picture_id, width_px=width_px, height_px=height_px, event_id=event_id, now=now
        )

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        rows = await self._sql.fetch(_SQL["expire"], reserved_before=reserved_before, now=now, limit=limit)
        return len(rows)

    async def list_deleted(self, deleted_before: datetime, *, limit: int) -> Sequence[PictureId]:
        rows = await self._sql.fetch(_SQL["deleted"], deleted_before=deleted_before, limit=limit)
        return [row["id"] for row in rows]

    async def forget(self, ids: Sequence[PictureId]) -> None:
        await self._sql.fetch(_SQL["forget"], ids=json_param(ids))


def _new(new: NewPicture, fingerprint: bytes, now: datetime) -> dict[str, object]:
    return {
        "id": new.id,
        "media_type": new.kind.value,
        "size_bytes": new.size_bytes,
        "fingerprint": fingerprint,
        "now": now,
        "kept_until": now + FINGERPRINT_RETENTION,
    }


def _picture(row: Row) -> Picture:
    return Picture(
        row["id"],
        row["trip_id"],
        row["user_id"],
        FileKind(row["media_type"]),
        row["size_bytes"],
        row["status"],
        row["width_px"],
        row["height_px"],
        row["created_at"],
    )

"""Documents, their quotas and their audit, on PostgreSQL."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import date, datetime

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, json_param, statements
from nomadcrew.core.documents.model import (
    MAX_DOCUMENTS,
    Action,
    AuditEntry,
    Description,
    Document,
    DocumentNotFound,
    DocumentPage,
    EndingDocument,
    FileGrant,
    NewDocument,
    NotDocumentOwner,
    QuotaExceeded,
    Trace,
    UploadIncomplete,
    max_bytes,
)
from nomadcrew.core.documents.ports import DocumentAccess, WalletAccess
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import DocumentId, EventId
from nomadcrew.core.notifications.preferences import Preferences
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.retention import FINGERPRINT_RETENTION
from nomadcrew.core.text import search_key

_SQL = statements("documents")
REFUSALS: Refusals = {
    "document_not_found": DocumentNotFound,
    "not_document_owner": NotDocumentOwner,
    "storage_quota_exceeded": QuotaExceeded,
    "upload_incomplete": UploadIncomplete,
}


class PostgresDocuments:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def reserve(
        self, access: WalletAccess, new: NewDocument, *, fingerprint: bytes, now: datetime
    ) -> DocumentId:
        [row] = await self._sql.fetch(
            _SQL["reserve"],
            trip_id=access.trip_id,
            caller=access.caller,
            min_rank=access.rule.min_rank,
            fingerprint=fingerprint,
            now=now,
            kept_until=now + FINGERPRINT_RETENTION,
            max_documents=MAX_DOCUMENTS,
            max_bytes=max_bytes(access.trip_id),
            id=new.id,
            media_type=new.kind.value,
            size_bytes=new.size_bytes,
            **_texts(new.description),
        )
        if raise_for_verdict(row["verdict"], "replayed", also=REFUSALS) == "ok":
            return new.id
        stored = await self._sql.fetch(_SQL["replayed"], fingerprint=fingerprint)
        if not stored:
            raise DocumentNotFound
        return DocumentId(stored[0]["id"])

    async def get_completed(self, access: DocumentAccess) -> tuple[FileKind, int] | None:
        rows = await self._sql.fetch(_SQL["completed"], id=access.document_id, caller=access.caller)
        return (FileKind(rows[0]["media_type"]), rows[0]["size_bytes"]) if rows else None

    async def complete(
        self, access: DocumentAccess, kind: FileKind, size_bytes: int, event_id: EventId, trace: Trace
    ) -> Document:
        [row] = await self._sql.fetch(
            _SQL["complete"],
            id=access.document_id,
            caller=access.caller,
            min_rank=access.rule.min_rank,
            media_type=kind.value,
            size_bytes=size_bytes,
            event_id=event_id,
            **_entry(trace),
        )
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return _document(row)

    async def page(
        self, access: WalletAccess, *, limit: int, offset: int = 0, after: After | None = None
    ) -> DocumentPage:
        page = {"caller": access.caller, "limit": limit, "offset": offset, **after_columns(after)}
        if access.trip_id is None:
            rows = await self._sql.fetch(_SQL["own_page"], **page)
        else:
            rows = await self._sql.fetch(
                _SQL["page"], trip_id=access.trip_id, min_rank=access.rule.min_rank, **page
            )
        raise_for_verdict(rows[0]["verdict"])
        return DocumentPage([_document(row) for row in rows if row["id"] is not None], rows[0]["total"])

    async def get(self, access: DocumentAccess, trace: Trace) -> Document:
        return await self._one(access, Action.VIEW, trace)

    async def download(self, grant: FileGrant, trace: Trace) -> Document:
        access = DocumentAccess(grant.document_id, grant.user_id, rule("document", "read"))
        return await self._one(access, Action.DOWNLOAD, trace)

    async def change(
        self, access: DocumentAccess, edit: Callable[[Document], Description], trace: Trace
    ) -> Document:
        async with nullcontext() if self._sql.in_transaction() else self._sql.transaction():
            [row] = await self._sql.fetch(_SQL["locked"], **_gate(access))
            raise_for_verdict(row["verdict"], also=REFUSALS)
            old = _document(row)
            new = edit(old)
            if (new.type, new.name, new.description, new.metadata) == (
                old.type, old.name, old.description, old.metadata,
            ):  # fmt: skip
                return old
            await self._sql.fetch(_SQL["change"], id=old.id, caller=access.caller, **_texts(new), **_entry(trace))
        return Document(
            old.id, old.user_id, old.trip_id, new.type, new.name, new.description, new.metadata, old.kind,
            old.size_bytes, old.created_at, trace.at,
        )  # fmt: skip

    async def delete(self, access: DocumentAccess, event_id: EventId, trace: Trace) -> None:
        [row] = await self._sql.fetch(_SQL["delete"], **_gate(access), event_id=event_id, **_entry(trace))
        raise_for_verdict(row["verdict"], also=REFUSALS)

    async def audit(
        self, access: DocumentAccess, *, limit: int, after: After | None = None
    ) -> Sequence[AuditEntry]:
        rows = await self._sql.fetch(_SQL["audit"], **_gate(access), limit=limit, **after_columns(after))
        raise_for_verdict(rows[0]["verdict"], also=REFUSALS)
        return [
            AuditEntry(
                row["id"], row["user_id"], row["action"], row["network"], row["user_agent"], row["created_at"]
            )
            for row in rows
            if row["id"] is not None
        ]

    async def remind(
        self, today: date, leads_days: Sequence[int], event_ids: Sequence[EventId], *, now: datetime
    ) -> int:
        rows = await self._sql.fetch(
            _SQL["remind"], today=today, leads=json_param(leads_days), event_ids=json_param(event_ids), now=now
        )
        return len(rows)

    async def get_ending(self, document_id: DocumentId, ends_on: date) -> EndingDocument | None:
        rows = await self._sql.fetch(_SQL["ending"], id=document_id, ends_on=ends_on)
        if not rows:
            return None
        [row] = rows
        preferences = Preferences.read(json.loads(row["preferences"]))
        return EndingDocument(
            row["id"], row["user_id"], row["name"], row["ends_on"], row["email"], row["username"], preferences
        )

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        rows = await self._sql.fetch(_SQL["expire"], reserved_before=reserved_before, now=now, limit=limit)
        return len(rows)

    async def list_with_files(self, deleted_before: datetime, *, limit: int) -> Sequence[DocumentId]:
        rows = await self._sql.fetch(_SQL["with_files"], deleted_before=deleted_before, limit=limit)
        return [row["id"] for row in rows]

    async def file_gone(self, ids: Sequence[DocumentId]) -> None:
        await self._sql.fetch(_SQL["file_gone"], ids=json_param(ids))

    async def forget(self, deleted_before: datetime, *, limit: int) -> int:
        return len(await self._sql.fetch(_SQL["forget"], deleted_before=deleted_before, limit=limit))

    async def _one(self, access: DocumentAccess, action: Action, trace: Trace) -> Document:
        [row] = await self._sql.fetch(_SQL["one"], **_gate(access), action=action.value, **_entry(trace))
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return _document(row)


def _gate(access: DocumentAccess) -> dict[str, object]:
    return {
        "id": access.document_id,
        "caller": access.caller,
        "min_rank": access.rule.min_rank,
        "own": access.rule.own,
    }


def _texts(texts: Description) -> dict[str, object]:
    return {
        "type": texts.type.value,
        "name": texts.name,
        "name_search": search_key(texts.name),
        "description": texts.description,
        "metadata": json_param(texts.metadata),
        "ends_on": texts.ends_on,
    }


def _entry(trace: Trace) -> dict[str, object]:
    return {
        "audit_id": trace.id,
        "network": trace.network,
        "user_agent": trace.user_agent,
        "now": trace.at,
    }


def _document(row: Row) -> Document:
    return Document(
        row["id"],
        row["user_id"],
        row["trip_id"],
        row["type"],
        row["name"],
        row["description"],
        json.loads(row["metadata"]),
        FileKind(row["media_type"]),
        row["size_bytes"],
        row["created_at"],
        row["updated_at"],
    )

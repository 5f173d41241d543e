"""Rewrites texts and JSON of others that name a user who is erased, page by page: only the core compares names."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from nomadcrew.adapters.postgres.sql import Row, Sql, json_param, statements
from nomadcrew.core.chat.model import MAX_TEXT
from nomadcrew.core.erasure.model import Person
from nomadcrew.core.erasure.texts import impersonal, stand_in_of, unmentioned
from nomadcrew.core.text import email_key, search_key

_SQL = statements("erased_texts")
PAGE = 500
_FIRST = UUID(int=0)


async def rewrite_texts(sql: Sql, person: Person) -> None:
    """Rewrite messages, notifications, events, documents and feedback. Safe to repeat."""
    stand_ins = {trip.trip_id: trip.stand_in_id for trip in person.trips}
    keys = {email_key(address) for address in person.addresses}

    def of_message(row: Row) -> Mapping[str, Any] | None:
        body = unmentioned(row["body"], person)[:MAX_TEXT]
        return None if body == row["body"] else {"body": body, "folded": search_key(body)}

    def of_edit(row: Row) -> Mapping[str, Any] | None:
        body = unmentioned(row["body"], person)
        return None if body == row["body"] else {"body": body}

    def of_notification(row: Row) -> Mapping[str, Any] | None:
        found = json.loads(row["body"])
        metadata = impersonal(found, person, stand_in_of(found, person))
        return None if metadata == found else {"body": json_param(metadata)}

    def of_document(row: Row) -> Mapping[str, Any] | None:
        found = json.loads(row["body"])
        content = impersonal(found, person, stand_ins[row["trip_id"]])
        return None if content == found else {"body": json_param(content)}

    def of_event(row: Row) -> Mapping[str, Any] | None:
        return of_document(row) or ({"body": row["body"]} if row["is_own"] else None)

    def of_feedback(row: Row) -> Mapping[str, Any] | None:
        return {} if email_key(row["body"]) in keys else None

    if person.username:
        mention = search_key(f"@{person.username}")
        await _rewrite(sql, person, "messages_with_mentions", "rewrite_messages", of_message, mention=mention)
        await _rewrite(sql, person, "edits_with_mentions", "rewrite_edits", of_edit)
    await _rewrite(sql, person, "notifications_with_person", "rewrite_notifications", of_notification)
    await _rewrite(sql, person, "events_with_person", "rewrite_events", of_event)
    await _rewrite(sql, person, "documents_of_trips", "rewrite_documents", of_document)
    await _rewrite(sql, person, "feedback_authors", "rewrite_feedback", of_feedback)


async def _rewrite(
    sql: Sql,
    person: Person,
    read: str,
    write: str,
    change: Callable[[Row], Mapping[str, Any] | None],
    **params: object,
) -> None:
    """Write what `change` makes of each row that a statement reads, by id; None leaves a row as it is."""
    after = _FIRST
    while True:
        rows = await sql.fetch(_SQL[read], user_id=person.id, after=after, limit=PAGE, **params)
        changed = [{"id": row["id"], **new} for row in rows if (new := change(row)) is not None]
        if changed:
            await sql.fetch(_SQL[write], user_id=person.id, rows=json_param(changed))
        if len(rows) < PAGE:
            return
        after = rows[-1]["id"]

"""Sessions on DynamoDB, in `UserSessions`.

A session is an item (`userId`, `sessionId`). Each of its refresh tokens is an item too, whose `userId` is "token#"
and the token's key, so that a consistent read finds it; an index would lag behind a sign-in. Keys are HMACs of the
tokens' hashes: a reader of the table learns no token and cannot test one. The session has the key of its newest
token, by which `SessionByToken` finds it for support.
"""

import asyncio
import hashlib
import hmac
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from nomadcrew.adapters.aws.dynamodb.open_sessions import DynamoOpenSessions, session_key
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.core.auth.errors import InvalidRefreshToken
from nomadcrew.core.auth.model import MAX_LISTED_SESSIONS, REUSE_GRACE, Account, ListedSession, Session
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.ids import SessionId, UserId

log = logging.getLogger("nomadcrew.sessions")

PURPOSE = "sessions"
TOKEN = "token"  # noqa: S105 — the sort key of token items, not a secret
ATTEMPTS = 12
PAUSE_S = 0.02
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ALIVE = "attribute_exists(sessionId) AND attribute_not_exists(revokedAt)"

FindAccount = Callable[[UserId], Awaitable[Account | None]]
OnEnd = Callable[[UserId, SessionId, datetime], Awaitable[None]]
Item = dict[str, dict[str, str]]


class _Token(Struct, frozen=True):
    """A refresh token. Times are microseconds since 1970."""

    user_id: UserId
    session_id: SessionId
    expires_at: int
    spent_at: int | None


class DynamoSessions:
    """`Sessions` in a table; accounts are read from SQL at each exchange."""

    def __init__(
        self,
        client: AwsClient,
        table: str,
        secrets: Secrets,
        find_account: FindAccount,
        *,
        on_end: OnEnd | None = None,
    ) -> None:
        """`on_end` is called with every session that ends, so that its sockets can be closed."""
        self._on_end = on_end
        self._client = client
        self._table = table
        self._open = DynamoOpenSessions(client, table)
        self._secrets = secrets
        self._find_account = find_account

    async def open(self, session: Session, token_hash: bytes, *, now: datetime, user_agent: str = "") -> None:
        key = self._token_keys(token_hash)[0]
        user_id, expires_at = session.account.user_id, session.expires_at
        item: Item = {
            **session_key(user_id, session.id),
            "createdAt": _number(now),
            "sessionToken": {"S": key},
            "expiresAt": _seconds(expires_at),
            **({"userAgent": {"S": user_agent}} if user_agent else {}),
        }
        token = self._put_token(key, user_id, session.id, expires_at)
        if not await self._write({"Put": {"TableName": self._table, "Item": item}}, token):
            raise Unavailable(code="busy")

    async def rotate(self, spent_hash: bytes, fresh_hash: bytes, *, now: datetime, expires_at: datetime) -> Session:
        fresh_key = self._token_keys(fresh_hash)[0]
        for attempt in range(ATTEMPTS):
            spent_key, token = await self._token(spent_hash)
            if token is None:
                raise InvalidRefreshToken
            account, alive = await asyncio.gather(
                self._find_account(token.user_id), self._open.is_open(token.user_id, token.session_id)
            )
            if account is None or not alive or token.expires_at <= _micros(now):
                raise InvalidRefreshToken
            if token.spent_at is not None and token.spent_at <= _micros(now - REUSE_GRACE):
                # A concurrent request may have ended it and then reports the end itself.
                ended = await self._end_reused(token, now)
                raise InvalidRefreshToken(ended=token.session_id if ended else None)
            if token.spent_at is not None and (await self._token(fresh_hash))[1] is None:
                raise InvalidRefreshToken  # exchanged for another token, before the secret was changed
            if await self._exchange(spent_key, token, fresh_key, now, expires_at):
                return Session(token.session_id, account, expires_at)
            # A concurrent exchange or the session's end changed the token: read it again.
            await asyncio.sleep(random.uniform(0, PAUSE_S * (attempt + 1)))  # noqa: S311 — spreads load, not a secret
        raise Unavailable(code="busy")

    async def close(self, token_hash: bytes, *, now: datetime) -> SessionId | None:
        _, token = await self._token(token_hash)
        if token is None:
            return None
        ended = await self._end(token.user_id, token.session_id, now, again=True)
        return token.session_id if ended else None

    async def list_open(self, user_id: UserId, *, now: datetime) -> Sequence[ListedSession]:
        # DynamoDB deletes an expired item up to two days late.
        found = [_listed(item) async for item in self._not_ended(user_id)]
        alive = [session for session in found if session.expires_at > now]
        alive.sort(key=lambda session: (session.last_used_at, session.id), reverse=True)
        return alive[:MAX_LISTED_SESSIONS]

    async def end(self, user_id: UserId, session_id: SessionId, *, now: datetime) -> None:
        if not await self._end(user_id, session_id, now):
            raise NotFound("session", code="session_not_found")

    async def end_others(self, user_id: UserId, kept: SessionId | None, *, now: datetime) -> Sequence[SessionId]:
        ended = []
        async for item in self._not_ended(user_id):
            session_id = SessionId(UUID(item["sessionId"]["S"]))
            if session_id != kept and await self._end(user_id, session_id, now):
                ended.append(session_id)
        return ended

    async def _not_ended(self, user_id: UserId) -> AsyncIterator[Item]:
        """The items of a user's sessions that no request has ended, page by page."""
        start = None
        while True:
            page = await self._call(
                "Query",
                ConsistentRead=True,
                KeyConditionExpression="userId = :user",
                FilterExpression="attribute_not_exists(revokedAt)",
                ProjectionExpression="sessionId, userAgent, createdAt, refreshedAt, expiresAt",
                ExpressionAttributeValues={":user": {"S": str(user_id)}},
                **({} if start is None else {"ExclusiveStartKey": start}),
            )
            for item in page["Items"]:
                yield item
            start = page.get("LastEvaluatedKey")
            if start is None:
                return

    async def delete_expired(self, *, now: datetime) -> int:  # noqa: ARG002 — required by the port
        """Nothing to do: DynamoDB deletes expired items by their TTL."""
        return 0

    async def _token(self, token_hash: bytes) -> tuple[str, _Token | None]:
        """A token and the key under which it is stored; several keys are possible after a rotation."""
        keys = self._token_keys(token_hash)
        for key in keys:
            found = await self._call("GetItem", Key=_token_key(key), ConsistentRead=True)
            if found.get("Item"):
                return key, _token_of(found["Item"])
        return keys[0], None

    async def _exchange(
        self, spent_key: str, token: _Token, fresh_key: str, now: datetime, expires_at: datetime
    ) -> bool:
        """Spend one token and store the other, unless either was changed meanwhile; a repeat has stored it."""
        session = {
            "Key": session_key(token.user_id, token.session_id),
            "UpdateExpression": "SET expiresAt = :expires, sessionToken = :token, refreshedAt = :now",
            "ConditionExpression": _ALIVE,
            "ExpressionAttributeValues": {
                ":expires": _seconds(expires_at),
                ":token": {"S": fresh_key},
                ":now": _number(now),
            },
        }
        writes = [{"Update": {"TableName": self._table, **session}}, self._spend(spent_key, token, now)]
        if token.spent_at is None:
            writes.append(self._put_token(fresh_key, token.user_id, token.session_id, expires_at))
        return await self._write(*writes)

    def _spend(self, key: str, token: _Token, now: datetime) -> dict[str, Any]:
        """The write that spends a token. Only the first exchange sets the time, from which the grace counts."""
        if token.spent_at is None:
            return {
                "Update": {
                    "TableName": self._table,
                    "Key": _token_key(key),
                    "UpdateExpression": "SET spentAt = :now",
                    "ConditionExpression": "attribute_exists(userId) AND attribute_not_exists(spentAt)",
                    "ExpressionAttributeValues": {":now": _number(now)},
                }
            }
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _token_key(key),
                "ConditionExpression": "spentAt = :spent",
                "ExpressionAttributeValues": {":spent": {"N": str(token.spent_at)}},
            }
        }

    async def _end_reused(self, token: _Token, now: datetime) -> bool:
        """End the session of a stolen token; its bearer gets the same refusal even if publishing the end fails."""
        try:
            return await self._end(token.user_id, token.session_id, now)
        except Unavailable as error:
            log.warning("end of a session not published", extra={"fields": {"reason": error.details}})
            return True

    async def _end(self, user_id: UserId, session_id: SessionId, now: datetime, *, again: bool = False) -> bool:
        """End a session; False if it does not exist or, unless `again`, has ended already.

        Raises:
            Unavailable: `on_end` failed; the session has ended nevertheless.
        """
        try:
            await self._call(
                "UpdateItem",
                Key=session_key(user_id, session_id),
                UpdateExpression="SET revokedAt = if_not_exists(revokedAt, :now)",
                ConditionExpression="attribute_exists(sessionId)" if again else _ALIVE,
                ExpressionAttributeValues={":now": _number(now)},
            )
        except AwsError as refused:
            if refused.code != "ConditionalCheckFailedException":
                raise
            return False
        if self._on_end is not None:
            await self._on_end(user_id, session_id, now)
        return True

    def _put_token(self, key: str, user_id: UserId, session_id: SessionId, expires_at: datetime) -> dict[str, Any]:
        item: Item = {
            **_token_key(key),
            "ownerId": {"S": str(user_id)},
            "ownerSession": {"S": str(session_id)},
            "validUntil": _number(expires_at),
            "expiresAt": _seconds(expires_at),
        }
        return {"Put": {"TableName": self._table, "Item": item}}

    async def _write(self, *writes: dict[str, Any]) -> bool:
        """Write all or none; False if a condition failed or there was a conflicting write."""
        try:
            await self._client.call("TransactWriteItems", {"TransactItems": writes})
        except AwsError as refused:
            if refused.code != "TransactionCanceledException":
                raise
            return False
        return True

    async def _call(self, operation: str, **body: Any) -> dict[str, Any]:
        return await self._client.call(operation, {"TableName": self._table, **body})

    def _token_keys(self, token_hash: bytes) -> list[str]:
        return [hmac.digest(key, token_hash, hashlib.sha256).hex() for key in self._secrets.keys(PURPOSE)]


def _token_key(key: str) -> Item:
    return {"userId": {"S": f"{TOKEN}#{key}"}, "sessionId": {"S": TOKEN}}


def _token_of(item: Item) -> _Token:
    spent_at = item.get("spentAt")
    return _Token(
        UserId(UUID(item["ownerId"]["S"])),
        SessionId(UUID(item["ownerSession"]["S"])),
        int(item["validUntil"]["N"]),
        None if spent_at is None else int(spent_at["N"]),
    )


def _listed(item: Item) -> ListedSession:
    created_at = _moment(item["createdAt"])
    return ListedSession(
        SessionId(UUID(item["sessionId"]["S"])),
        item["userAgent"]["S"] if "userAgent" in item else "",
        created_at,
        _moment(item["refreshedAt"]) if "refreshedAt" in item else created_at,
        _EPOCH + timedelta(seconds=int(item["expiresAt"]["N"])),
    )


def _moment(number: dict[str, str]) -> datetime:
    return _EPOCH + int(number["N"]) * _MICROSECOND


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _number(moment: datetime) -> dict[str, str]:
    return {"N": str(_micros(moment))}


def _seconds(moment: datetime) -> dict[str, str]:
    """The value for DynamoDB's TTL, rounded up to whole seconds."""
    return {"N": str(_micros(moment) // 1_000_000 + 1)}

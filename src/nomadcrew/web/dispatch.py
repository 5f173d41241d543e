"""Turns requests into replies, the same on both hosts: authentication, rate limit, idempotency, handler."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from io import BytesIO
from types import MappingProxyType
from typing import Protocol

import msgspec

from nomadcrew import logs
from nomadcrew.core.auth.open_sessions import require_open
from nomadcrew.core.claims import API_KEY_PREFIX, Claims, require_scope
from nomadcrew.core.errors import DomainError, Invalid, TooMany, Unauthenticated
from nomadcrew.core.idempotency import StoredReply
from nomadcrew.core.ids import TripId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.logs import Answered
from nomadcrew.web.call import Call, Reply, Request, bearer
from nomadcrew.web.decode import decode
from nomadcrew.web.etags import etag_of
from nomadcrew.web.form_data import Form, MakeParser
from nomadcrew.web.problems import JSON_TYPE, UnreadableEncoding, problem
from nomadcrew.web.routes import Auth, Route

log = logging.getLogger("nomadcrew.request")
encode = msgspec.json.Encoder().encode

SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "x-xss-protection": "1; mode=block",
        "referrer-policy": "strict-origin-when-cross-origin",
        # Replies contain tokens and personal data; replies that caches may store say so.
        "cache-control": "no-store",
    }
)
MAX_KEY_CHARS = 255

Observer = Callable[[str, int, float], None]


class Body(Protocol):
    """A body that arrives while its request is answered. A caller is a user or an address."""

    async def read(self, caller: str) -> bytes: ...

    async def read_form(self, caller: str, parser: MakeParser) -> Form: ...


class Dispatcher:
    """Runs the table's rows with one set of ports."""

    def __init__(self, ports: Ports, observe: Observer | None = None) -> None:
        """`observe` is called with route key, status and seconds of every request."""
        self.ports = ports
        self._observe = observe
        self._headers = dict(SECURITY_HEADERS)
        if ports.site.public_url.startswith("https://"):
            self._headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"

    async def handle(self, route: Route, request: Request, body: Body | None = None) -> Reply:
        """The reply to a request at a row. Never raises; logs one line.

        `body` is read once the token is verified and the limits are spent; without it the request is whole.
        """
        started = time.perf_counter()
        now = self.ports.clock()
        headers = {**self._headers, "x-request-id": request.request_id}
        claims: Claims | None = None
        failure: Exception | None = None
        try:
            claims = await self._authenticate(route, request, now)
            caller = request.client_ip if claims is None else claims.spender
            spending = self._limit(route.bucket, caller, headers, now)
            if claims is None or request.claims is None:
                await spending
            else:  # verified by a gateway, which does not know sessions
                await _both(require_open(claims, self.ports.open_sessions), spending)
            if claims is not None and claims.key is not None:
                require_scope(
                    claims.key, accepted=route.takes_keys, mutates=route.mutates, trip_id=_trip_id(route, request)
                )
            if route.mutates:
                refuse_encoding(request.headers)
                request = await _whole(route, request, body, caller)
            reply = await self._answer(route, request, claims, now)
        except Exception as error:
            failure = error
            reply = problem(error, request.request_id)
        finally:
            if request.form is not None:
                request.form.close()
        headers.update(reply.headers)
        self._report(route, request, claims, reply.status, time.perf_counter() - started, failure)
        failure = None  # its traceback refers to this frame, and the cycle would hold the body until a collection
        return Reply(reply.status, reply.body, headers)

    def refusal(self, error: Exception, request_id: str) -> Reply:
        """The reply to a request that reaches no row, with the default headers."""
        return self.with_default_headers(problem(error, request_id), request_id)

    def with_default_headers(self, reply: Reply, request_id: str) -> Reply:
        """`reply` with the default headers."""
        headers = {**self._headers, "x-request-id": request_id, **reply.headers}
        return msgspec.structs.replace(reply, headers=headers)

    async def _authenticate(self, route: Route, request: Request, now: datetime) -> Claims | None:
        if route.auth is Auth.PUBLIC:
            return None
        try:
            return await self._verify(request, now)
        except Unauthenticated as error:
            await limit_bad_tokens(error, request.client_ip, self.ports.limits)
            raise

    async def _verify(self, request: Request, now: datetime) -> Claims:
        if request.refusal is not None:
            raise request.refusal
        if request.claims is not None:
            if request.claims.expires_at <= now:  # the gateway remembers a token for a while
                raise Unauthenticated("The access token has expired.", code="token_expired")
            return request.claims
        token = bearer(request.headers)
        verifier = self.ports.key_verifier if token.startswith(API_KEY_PREFIX) else self.ports.verifier
        return await verifier.verify(token, now=now)

    async def _limit(self, bucket: str, caller: str, headers: dict[str, str], now: datetime) -> None:
        allowance = await self.ports.limits.spend(bucket, caller)
        now_s = int(now.timestamp())
        headers["x-ratelimit-limit"] = str(allowance.limit)
        headers["x-ratelimit-remaining"] = str(allowance.remaining)
        headers["x-ratelimit-reset"] = str(now_s + allowance.reset_s)
        if not allowance.allowed:
            raise TooMany(allowance.retry_after_s)

    async def _answer(self, route: Route, request: Request, claims: Claims | None, now: datetime) -> Reply:
        key = request.headers.get("idempotency-key")
        tells = route.mutates and route.uses_outbox
        if tells:
            self.ports.outbox.before_write()
        if not route.mutates or key is None or not route.idempotency.takes_key:
            reply = await self._run(route, request, claims, now, replay_key=None)
        else:
            reply = await self._once(route, request, claims, now, key)
        if tells:
            await self.ports.outbox.after_commit()
        if route.versioned and reply.status == HTTPStatus.OK:
            return msgspec.structs.replace(reply, headers={**reply.headers, "etag": etag_of(reply.body)})
        return reply

    async def _once(self, route: Route, request: Request, claims: Claims | None, now: datetime, key: str) -> Reply:
        if not 0 < len(key) <= MAX_KEY_CHARS or not key.isprintable():
            raise Invalid(
                "An Idempotency-Key must have 1 to 255 printable characters.", code="invalid_idempotency_key"
            )
        caller = "public" if claims is None else str(claims.user_id)
        name = _digest(caller.encode(), b"key", key.encode())
        request_hash = _digest(route.key.encode(), *_path_and_query(request), request.content)

        async def make() -> StoredReply:
            reply = await self._run(route, request, claims, now, replay_key=name)
            return StoredReply(reply.status, reply.body)

        stored = await self.ports.idempotency.run_once(name, request_hash, make, now=now)
        return Reply(stored.status, stored.body, {"content-type": JSON_TYPE} if stored.body else {})

    async def _run(
        self, route: Route, request: Request, claims: Claims | None, now: datetime, replay_key: bytes | None
    ) -> Reply:
        fingerprint = b""
        if replay_key is not None:
            fingerprint = _digest(replay_key, b"row")
        elif route.idempotency.has_fingerprint:
            caller = b"public" if claims is None else claims.user_id.bytes
            fingerprint = _digest(caller, route.key.encode(), *_path_and_query(request), request.content)
        call = Call(route, request, self.ports, now, claims, fingerprint)
        if route.body is None or (route.body_optional and not request.body):
            result = await route.handler(call)
        else:
            result = await route.handler(call, decode(request.body, route.body))
        if isinstance(result, Reply):
            return result
        if result is None:
            return Reply(route.status)
        return Reply(route.status, encode(result), {"content-type": JSON_TYPE})

    def _report(
        self,
        route: Route,
        request: Request,
        claims: Claims | None,
        status: int,
        seconds: float,
        failure: Exception | None,
    ) -> None:
        if self._observe is not None:
            self._observe(route.key, status, seconds)
        answered = Answered(
            request.request_id,
            route.key,
            status,
            round(seconds * 1000, 2),
            None if claims is None else claims.user_id,
            _trip_id(route, request),
            failure.code if isinstance(failure, DomainError) else None,
        )
        if status == 500:
            log.error("Request failed", extra=answered.extra, exc_info=failure)
        elif status == 503:
            log.warning("Request failed: unavailable", extra=answered.extra, exc_info=failure)
        else:
            logs.request(answered)


def _trip_id(route: Route, request: Request) -> TripId | None:
    """The trip in the path; None if there is none, or if it is malformed."""
    value = parse_uuid(request.params["id"]) if route.trip_scoped else None
    return None if value is None else TripId(value)


async def _both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Await both at the same time, and raise the first one's error if both fail."""
    for result in await asyncio.gather(first, second, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _whole(route: Route, request: Request, body: Body | None, caller: str) -> Request:
    """The request with its body, or with its form on a row that takes one."""
    if route.form is not None:
        form = await body.read_form(caller, route.form) if body is not None else _parsed(request, route.form)
        return msgspec.structs.replace(request, body=b"", form=form)
    return request if body is None else msgspec.structs.replace(request, body=await body.read(caller))


def _parsed(request: Request, parser: MakeParser) -> Form:
    """The form in a request that is whole."""
    reader = parser(request.headers.get("content-type", ""), BytesIO())
    reader.feed(request.body)
    return reader.finish()


async def limit_bad_tokens(error: Unauthenticated, address: str, limits: RateLimits) -> None:
    """Count a refused token against its address; one that has expired was valid, and is about to be refreshed.

    Valid tokens from the same address, which may be that of a whole hotel, are not affected.

    Raises:
        TooMany: too many of this address were refused.
    """
    if error.code == "token_expired":
        return
    allowance = await limits.spend("bad_token", address)
    if not allowance.allowed:
        raise TooMany(allowance.retry_after_s)


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Raise `UnreadableEncoding` for a compressed body: a small one may become a large one."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnreadableEncoding


def _path_and_query(request: Request) -> list[bytes]:
    parts = [f"{name}={value}" for name, value in sorted(request.params.items())]
    parts += [f"{name}={','.join(values)}" for name, values in sorted(request.query.items())]
    return [part.encode(errors="surrogatepass") for part in parts]


def _digest(*parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts, so that different lists never hash the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()

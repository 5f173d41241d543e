"""The steps of a call, shared by the two clients: a client only sends, waits and refreshes."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qs

import httpx
import msgspec

from nomadcrew_client import models
from nomadcrew_client.calls import Call, Refused, pause_s

T = TypeVar("T")

# Of a thread or task, so that calls at the same time do not mix.
_headers: ContextVar[Mapping[str, str]] = ContextVar("_headers", default=httpx.Headers())  # noqa: B039 — never changed
_NEXT = re.compile(r'\?([^>]*)>; rel="next"')


class Tokens(msgspec.Struct, frozen=True):
    """The tokens of a session. An API key is an access token that cannot be refreshed."""

    access_token: str
    refresh_token: str | None = None


@dataclass(frozen=True)
class Send:
    """Send the request of a call; the answer is its response or the failure of its transport."""

    request: dict[str, Any]


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Refresh:
    """Refresh the tokens, unless another call did since it read `expired`."""

    expired: Tokens


Step: TypeAlias = Send | Wait | Refresh
Answer: TypeAlias = httpx.Response | httpx.TransportError | None


class Session:
    """The present tokens of a client."""

    def __init__(self, tokens: Tokens | None) -> None:
        self.tokens = tokens

    def steps(self, call: Call[T]) -> Generator[Step, Answer, T]:
        """The steps to the reply of a call; refreshes at most once.

        Raises:
            Refused: the server refuses the call, or the refresh of its token.
            httpx.TransportError: no attempt got a reply.
        """
        is_refreshed, attempt = False, 0
        while True:
            attempt += 1
            tokens = self.tokens
            answer = yield Send(call.request(tokens.access_token if tokens else None))
            try:
                if isinstance(answer, httpx.Response):
                    reply = self._learn(call.reply(answer))
                    _headers.set(answer.headers)
                    return reply
                assert answer is not None
                raise answer
            except (Refused, httpx.TransportError) as failure:
                if _may_refresh(failure, tokens) and not is_refreshed:
                    assert tokens is not None
                    yield Refresh(tokens)
                    is_refreshed = True
                    continue
                wait_s = pause_s(call, attempt, failure)
                if wait_s is None:
                    raise
            yield Wait(wait_s)

    def refresh_call(self, expired: Tokens) -> Call[models.SignedInView] | None:
        """The call that refreshes, None if the tokens are fresh already.

        The server answers a repeat within seconds with the same tokens, so that a lost reply does no harm.
        """
        if self.tokens != expired or expired.refresh_token is None:
            return None
        body = models.RefreshIn(refresh_token=expired.refresh_token)
        replies = {200: models.SignedInView}
        return Call[models.SignedInView]("POST", "/v1/auth/refresh", replies, body=body, may_repeat=True)

    def _learn(self, reply: T) -> T:
        if isinstance(reply, models.SignedInView):
            self.tokens = Tokens(reply.access_token, reply.refresh_token)
        return reply


class Replied:
    """The part of a client that tells of its session and of its latest reply."""

    _session: Session

    @property
    def tokens(self) -> Tokens | None:
        return self._session.tokens

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest reply in this thread or task, such as `etag`."""
        return _headers.get()

    @property
    def next_page(self) -> str | None:
        """The `after` of the page behind the latest reply in this thread or task, None after the last page."""
        link = _NEXT.search(self.headers.get("link", ""))
        return parse_qs(link[1])["after"][0] if link else None


def _may_refresh(failure: Exception, tokens: Tokens | None) -> bool:
    has_refresh_token = tokens is not None and tokens.refresh_token is not None
    return has_refresh_token and isinstance(failure, Refused) and failure.is_expired_token

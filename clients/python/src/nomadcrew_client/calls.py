"""One call of the API: its request, its reply or refusal, and the pause before its next attempt."""

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from nomadcrew_client.models import Problem

T = TypeVar("T")

ATTEMPTS = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0
_LONGEST_RETRY_AFTER_S = 60.0
_OUTAGES = frozenset({500, 502, 503, 504})


class Part(NamedTuple):
    """A file in a form."""

    name: str
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request; `replies` has the type of each successful status, None for no body and bytes for a file.

    `key` is the Idempotency-Key: a call with a key may be repeated, and is done once.
    """

    method: str
    path: str
    replies: Mapping[int, Any]
    query: Mapping[str, object] | None = None
    body: object = None
    content: bytes | None = None
    content_type: str = "application/json"
    parts: Mapping[str, Part | str] | None = None
    if_match: str | None = None
    key: str | None = None
    may_repeat: bool = False

    @property
    def is_repeatable(self) -> bool:
        return self.may_repeat or self.method == "GET" or self.key is not None

    def request(self, token: str | None) -> dict[str, Any]:
        """The arguments of `httpx.Client.build_request`."""
        headers = {"accept": "application/json, */*;q=0.5"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if self.key is not None:
            headers["idempotency-key"] = self.key
        if self.if_match is not None:
            headers["if-match"] = self.if_match
        how: dict[str, Any] = {"method": self.method, "url": self.path, "headers": headers}
        if self.query is not None:
            how["params"] = {name: _text(value) for name, value in self.query.items() if value is not None}
        if self.parts is not None:
            how["files"] = {
                name: (None, part) if isinstance(part, str) else tuple(part) for name, part in self.parts.items()
            }
        elif self.content is not None or self.body is not None:
            headers["content-type"] = self.content_type
            how["content"] = msgspec.json.encode(self.body) if self.content is None else self.content
        return how

    def reply(self, response: httpx.Response) -> T:
        """The decoded body of a successful response.

        Raises:
            Refused: the response is a refusal, or a status that the operation does not have.
        """
        type_ = self.replies.get(response.status_code, ...)
        if type_ is ...:
            raise Refused.of(response)
        decoded: Any
        if type_ is None:
            decoded = None
        elif type_ is bytes:
            decoded = response.content
        else:
            decoded = msgspec.json.decode(response.content, type=type_)
        result: T = decoded
        return result


class Refused(Exception):
    """The server refuses a call. `code` is for programs; `problem` is None if a proxy answered instead."""

    def __init__(self, status: int, problem: Problem | None, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {problem.code}: {problem.detail}" if problem else str(status))
        self.status = status
        self.problem = problem
        self.headers = headers

    @classmethod
    def of(cls, response: httpx.Response) -> "Refused":
        try:
            problem = msgspec.json.decode(response.content, type=Problem)
        except msgspec.MsgspecError:
            problem = None
        return cls(response.status_code, problem, response.headers)

    @property
    def code(self) -> str:
        return self.problem.code if self.problem else ""

    @property
    def is_passing(self) -> bool:
        """True if the same call may succeed later."""
        return self.status in _OUTAGES or self.status == httpx.codes.TOO_MANY_REQUESTS

    @property
    def is_expired_token(self) -> bool:
        return self.status == httpx.codes.UNAUTHORIZED and self.code == "token_expired"


def pause_s(call: Call[T], attempt: int, failure: Refused | httpx.TransportError) -> float | None:
    """Seconds to wait before the next attempt, None if there must be none.

    A rate limit refuses before anything is done, so any call may follow it. After an outage or a lost reply only a
    repeatable call may.

    Args:
        attempt: the number of the failed attempt, from 1.
    """
    is_limited = isinstance(failure, Refused) and failure.status == httpx.codes.TOO_MANY_REQUESTS
    is_outage = not isinstance(failure, Refused) or failure.status in _OUTAGES
    if attempt >= ATTEMPTS or not (is_limited or (is_outage and call.is_repeatable)):
        return None
    asked_s = _retry_after_s(failure) if isinstance(failure, Refused) else 0.0
    return None if asked_s > _LONGEST_RETRY_AFTER_S else max(asked_s, backoff_s(attempt))


def backoff_s(attempt: int, longest_s: float = _LONGEST_PAUSE_S) -> float:
    """A pause that doubles with each attempt from 1, up to a limit, and differs between clients."""
    return float(min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), longest_s) * random.uniform(0.75, 1.25))  # noqa: S311


def _retry_after_s(refusal: Refused) -> float:
    text = refusal.headers.get("retry-after", "")
    return float(text) if text.isdigit() else 0.0


def new_key() -> str:
    """A key for one write and its repeats."""
    return uuid.uuid4().hex


def in_path(text: str) -> str:
    return quote(text, safe="")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Signed calls to AWS, with the standard library only.

botocore takes a third of a second to import and a millisecond per call, which users would wait for.
"""

import asyncio
import http.client
import json
import logging
import os
import random
import select
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from msgspec import Struct

from nomadcrew.adapters.aws.sdk.services import Endpoint, Service, endpoint_of
from nomadcrew.adapters.aws.sdk.signing import (
    AwsCredentials,
    encoded_path,
    encoded_query,
    presign,
    sign,
    sign_policy,
)
from nomadcrew.core.errors import Unavailable

log = logging.getLogger("nomadcrew.aws")

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 3.0
ATTEMPTS = 3
BACKOFF_S = 0.05
# Signatures fail if the clocks differ by five minutes; a difference of one minute is corrected.
SKEW = timedelta(minutes=1)
MAX_THREADS = 32

THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
SKEWED = frozenset({"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch"})
EXPIRED = SKEWED | {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}

DENIED = frozenset({"AccessDenied", "AccessDeniedException"})


class AwsError(Exception):
    """A service refused a call and would refuse it again. `code` is the service's short error code."""

    def __init__(self, code: str, status: int, message: str, body: Mapping[str, Any]) -> None:
        # Denials name the missing action and resource; other messages may repeat request data.
        super().__init__(f"{code} ({status})" + (f": {message}" if code in DENIED else ""))
        self.code = code
        self.status = status
        self.message = message
        self.body = body


class _Call(Struct, frozen=True):
    """A request; path and query are percent-encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float
    repeatable: bool
    signed: bool = True


class _Answer(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Unreachable(Exception):
    """No response. `sent`: the service may have executed the request."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class AwsClient:
    """Calls one service over kept-alive connections; calls may run concurrently.

    Transient failures are retried with jitter and then become `Unavailable`: throttling, errors of the service, no
    connection, no response in time, and expired credentials. All other errors become `AwsError`.
    """

    def __init__(
        self, service: Service, *, url: str | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        """`url`: the address of a service that has a different one in each deployment."""
        self._service = service
        self._environment = environment
        self._endpoint = endpoint_of(service, environment, url=url)
        self._idle: list[http.client.HTTPConnection] = []
        self._skew = timedelta()

    async def call(
        self,
        operation: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float | None = None,
        repeatable: bool = True,
        signed: bool = True,
    ) -> dict[str, Any]:
        """The response to an operation of a JSON service.

        Args:
            timeout_s: how long to wait for the response; `READ_TIMEOUT_S` by default.
            repeatable: executing it twice is harmless, so it may be retried after a lost response.
            signed: False for operations that need no permission.

        Raises:
            AwsError: the service refused.
            Unavailable: the service could not be reached.
        """
        service = self._service
        headers = {
            "content-type": f"application/x-amz-json-{service.json_version}",
            "x-amz-target": f"{service.target}.{operation}",
        }
        call = _Call("POST", "/", "", headers, _json(body), timeout_s or READ_TIMEOUT_S, repeatable, signed)
        answer = await self._send(call)
        return _object(answer.body)

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        repeatable: bool = True,
    ) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers (lower-case names) of the response to a REST request; a mapping is sent as JSON.

        Args:
            path: not encoded, from the root of the service.
            timeout_s: see `call`.
            repeatable: see `call`.

        Raises:
            AwsError: the service refused.
            Unavailable: the service could not be reached.
        """
        sent = dict(headers or {})
        if isinstance(body, Mapping):
            sent.setdefault("content-type", "application/json")
            body = _json(body)
        call = _Call(
            method,
            encoded_path(path),
            encoded_query(query or {}),
            sent,
            body or b"",
            timeout_s or READ_TIMEOUT_S,
            repeatable,
        )
        answer = await self._send(call)
        return answer.body, answer.headers

    def presigned(self, path: str, query: Mapping[str, str], *, lifetime_s: int, now: datetime) -> str:
        """A URL with which any client may GET the object at `path` with our rights; makes no request.

        Args:
            path: not encoded, from the root of the service.

        Raises:
            Unavailable: there are no credentials.
        """
        endpoint = self._endpoint
        try:
            credentials = self._credentials()
        except _Unreachable as error:
            raise Unavailable(details=f"{self._service.host}: {error}") from error
        address = presign(
            credentials,
            service=self._service.signed_as,
            region=self._environment.get("AWS_REGION", "us-east-1"),
            host=endpoint.host_header,
            path=encoded_path(endpoint.path + path),
            query=query,
            lifetime_s=lifetime_s,
            now=now + self._skew,
        )
        return f"{'https' if endpoint.tls else 'http'}://{address}"

    def presigned_post(
        self, path: str, conditions: Sequence[object], *, until: datetime, now: datetime
    ) -> tuple[str, Mapping[str, str]]:
        """The URL and the signed fields of a form with which any client may POST an object; makes no request.

        Args:
            path: of the bucket, not encoded, from the root of the service.
            conditions: of S3's POST policy, without those of the signature.

        Raises:
            Unavailable: there are no credentials.
        """
        endpoint = self._endpoint
        try:
            credentials = self._credentials()
        except _Unreachable as error:
            raise Unavailable(details=f"{self._service.host}: {error}") from error
        fields = sign_policy(
            credentials,
            region=self._environment.get("AWS_REGION", "us-east-1"),
            conditions=conditions,
            until=until + self._skew,
            now=now + self._skew,
        )
        scheme = "https" if endpoint.tls else "http"
        return f"{scheme}://{endpoint.host_header}{encoded_path(endpoint.path + path)}", fields

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._next_idle()) is not None:
            connection.close()

    async def _send(self, call: _Call) -> _Answer:
        loop = asyncio.get_running_loop()
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                answer = await loop.run_in_executor(_threads(), self._exchange, call)
            except _Unreachable as error:
                if last or (error.sent and not call.repeatable):
                    raise Unavailable(details=f"{self._service.host}: {error}") from error
            else:
                if answer.status < 300:
                    return answer
                refused = _error(answer)
                if not self._is_transient(refused, answer, call.repeatable):
                    raise refused
                if last:
                    raise Unavailable(details=f"{self._service.host}: {refused.code}") from refused
            await asyncio.sleep(random.uniform(0, BACKOFF_S * 4**attempt))  # noqa: S311 — spreads load, not a secret
        raise AssertionError("unreachable")

    def _is_transient(self, error: AwsError, answer: _Answer, repeatable: bool) -> bool:
        """True if a retry may succeed. Raises Unavailable: an outage that a retry cannot solve."""
        if error.code in EXPIRED:
            if error.code in SKEWED and self._correct_clock(answer):
                return True
            raise Unavailable(details=f"{self._service.host}: {error.code}") from error
        if error.status == 429 or error.code in THROTTLED:
            return True
        if error.status < 500:
            return False
        if not repeatable:
            raise Unavailable(details=f"{self._service.host}: {error.code}") from error
        return True

    def _correct_clock(self, answer: _Answer) -> bool:
        """Use the service's clock, if the difference is large enough to be the cause."""
        try:
            service_time = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return False
        skew = service_time - datetime.now(UTC)
        if abs(skew - self._skew) < SKEW:
            return False
        self._skew = skew
        log.warning("local clock is wrong", extra={"fields": {"skew_s": round(skew.total_seconds())}})
        return True

    def _exchange(self, call: _Call) -> _Answer:
        """Send one request and read its response; blocks."""
        endpoint = self._endpoint
        headers = self._signed(call) if call.signed else {"host": endpoint.host_header, **call.headers}
        connection = self._connection()
        target = endpoint.path + call.path
        try:
            assert connection.sock is not None
            connection.sock.settimeout(call.timeout_s)
            connection.request(call.method, f"{target}?{call.query}" if call.query else target, call.body, headers)
            response = connection.getresponse()
            answer = _Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _Unreachable(type(error).__name__, sent=True) from error
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _signed(self, call: _Call) -> dict[str, str]:
        return sign(
            self._credentials(),
            service=self._service.signed_as,
            region=self._environment.get("AWS_REGION", "us-east-1"),
            method=call.method,
            host=self._endpoint.host_header,
            path=encoded_path(self._endpoint.path) + call.path,
            query=call.query,
            headers=call.headers,
            body=call.body,
            now=datetime.now(UTC) + self._skew,
        )

    def _credentials(self) -> AwsCredentials:
        try:
            return AwsCredentials.of(self._environment)
        except KeyError as missing:
            raise _Unreachable(f"{missing} is not set", sent=False) from None

    def _connection(self) -> http.client.HTTPConnection:
        """An idle connection that is still open, else a new one."""
        while (idle := self._next_idle()) is not None:
            # An idle connection is readable only if the server has closed it.
            if idle.sock is not None and not select.select([idle.sock], [], [], 0)[0]:
                return idle
            idle.close()
        endpoint = self._endpoint
        new = _connect(endpoint)
        try:
            new.connect()
        except OSError as error:
            new.close()
            raise _Unreachable(type(error).__name__, sent=False) from error
        return new

    def _next_idle(self) -> http.client.HTTPConnection | None:
        """An idle connection, or None. Other threads take connections too, so there is no check before `pop`."""
        try:
            return self._idle.pop()
        except IndexError:
            return None


def _connect(endpoint: Endpoint) -> http.client.HTTPConnection:
    if endpoint.tls:
        return http.client.HTTPSConnection(
            endpoint.host, endpoint.port, timeout=CONNECT_TIMEOUT_S, context=_trust()
        )
    return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=CONNECT_TIMEOUT_S)


@cache
def _trust() -> ssl.SSLContext:
    """Trusted certificates. `SSL_CERT_FILE` has AWS's few roots, which load in half the time of the system's."""
    return ssl.create_default_context()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_THREADS, "aws")


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _error(answer: _Answer) -> AwsError:
    """The error of a refusal. Services put the code into a header or the body, with a prefix or a suffix."""
    body = _object(answer.body)
    code = answer.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code") or ""
    short = str(code).partition(":")[0].rpartition("#")[2]
    message = body.get("message") or body.get("Message") or ""
    return AwsError(short or f"Http{answer.status}", answer.status, str(message), body)

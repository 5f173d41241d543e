"""A client of the public API, for commands that act as users."""

import json
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from nomadcrew.hosts.machine.errors import StartupError

TIMEOUT_S = 15


class Refused(StartupError):
    """The server refused the request."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ApiClient:
    """One user at one server. Refusals and outages become sentences for the terminal."""

    def __init__(self, url: str, *, username: str, email: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise StartupError(f"{url} must start with http:// or https://.")
        self._url = url.rstrip("/")
        self.username = username
        self.email = email
        self.token: str | None = None
        # If the password is known, an expired token is replaced.
        self.password: str | None = None

    def get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        return self._send("POST", path, body)

    def put(self, path: str, body: object) -> Any:
        return self._send("PUT", path, body)

    def patch(self, path: str, body: object) -> Any:
        return self._send("PATCH", path, body)

    def sign_in(self, password: str) -> None:
        """Get a token for the account of this client's username."""
        self.password = password
        credentials = {"username": self.username, "password": password}
        self.token = self._once("POST", "/v1/auth/login", credentials)["access_token"]

    def renew(self) -> None:
        """Make sure that the token is valid."""
        self.get("/v1/users/me")

    @property
    def socket_address(self) -> str:
        """The URL for this user's socket; it contains the token."""
        return f"{self._url.replace('http', 'ws', 1)}/v1/ws?token={self.token}"

    def _send(self, method: str, path: str, body: object) -> Any:
        try:
            return self._once(method, path, body)
        except Refused as refused:
            if refused.status != HTTPStatus.UNAUTHORIZED or self.password is None:
                raise
        self.sign_in(self.password)
        return self._once(method, path, body)

    def _once(self, method: str, path: str, body: object) -> Any:
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, data=data, headers=headers, method=method)  # noqa: S310 — http(s) only
        try:
            with urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                return json.loads(reply.read() or b"null")
        except HTTPError as error:
            wait_s = error.headers.get("Retry-After")
            again = f" Try again in {wait_s} s." if error.code == HTTPStatus.TOO_MANY_REQUESTS and wait_s else ""
            raise Refused(
                error.code, f"{method} {path}: the server answered {error.code}, {_message(error)}{again}"
            ) from None
        except (URLError, HTTPException, TimeoutError, OSError, ValueError):
            raise StartupError(
                f"No NomadCrew server answers at {self._url}; start one with `nomadcrew up`, or give --url."
            ) from None


def _message(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError):
        return error.reason

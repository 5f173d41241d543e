"""Phones, and the pushes that they receive through the push service of the tests."""

import secrets
from typing import Any

import httpx

from tests.e2e.client import User, eventually


class Phones:
    """The phones that a push service reaches."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def register(self, user: User) -> str:
        """Register a new phone of a user; return its push token."""
        token = f"ExponentPushToken[{secrets.token_hex(11)}]"
        body = {"token": token, "deviceType": "ios"}
        made = await user.ask("POST", "/v1/users/push-token", body, status=200)
        assert (made["token"], made["isActive"], made["userId"]) == (token, True, user.id)
        return token

    async def pushes(self, token: str, type_: str) -> list[dict[str, Any]]:
        """The pushes of a type that a phone received so far."""
        async with httpx.AsyncClient(trust_env=False) as http:
            messages: list[dict[str, Any]] = (await http.get(f"{self._url}/messages")).json()
        return [message for message in messages if (message["to"], message["data"]["type"]) == (token, type_)]

    async def first(self, token: str, type_: str) -> dict[str, Any]:
        """The first push of a type to a phone, waiting for it."""

        async def found() -> dict[str, Any] | None:
            return next(iter(await self.pushes(token, type_)), None)

        message = await eventually(found)
        assert message is not None
        return message

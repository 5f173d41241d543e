"""Phones, and what a server had them show, by way of the push service of the tests."""

import secrets
from typing import Any

import httpx

from tests.e2e.client import Person, eventually


class Phones:
    """The phones that a push service reaches."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def give(self, person: Person) -> str:
        """Have a new phone of somebody's registered; returns its token."""
        token = f"ExponentPushToken[{secrets.token_hex(11)}]"
        body = {"token": token, "deviceType": "ios"}
        made = await person.ask("POST", "/v1/users/push-token", body, status=200)
        assert (made["token"], made["isActive"], made["userId"]) == (token, True, person.id)
        return token

    async def shown(self, token: str, type_: str) -> list[dict[str, Any]]:
        """What a phone was pushed so far of a type."""
        async with httpx.AsyncClient(trust_env=False) as http:
            messages: list[dict[str, Any]] = (await http.get(f"{self._url}/messages")).json()
        return [message for message in messages if (message["to"], message["data"]["type"]) == (token, type_)]

    async def first(self, token: str, type_: str) -> dict[str, Any]:
        """The first push of a type to a phone, once it comes."""

        async def found() -> dict[str, Any] | None:
            return next(iter(await self.shown(token, type_)), None)

        message = await eventually(found)
        assert message is not None
        return message

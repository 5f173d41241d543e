"""The authorizer of the HTTP API, payload format 2.0 with simple responses."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nomadcrew.core.claims import Claims, KeyScope
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import ApiKeyId
from nomadcrew.hosts.aws.authorizer_event import http_authorizer_entry
from nomadcrew.hosts.aws.functions.http_authorizer import PORTS
from tests.fakes import ANA, NOON, FakeTokens, UnexpectedPort, fake_ports
from tests.lambda_loops import close_lambda_loops

__all__ = ["close_lambda_loops"]

KEY = Claims(ANA, NOON + timedelta(days=1), key=KeyScope(ApiKeyId(UUID(int=7)), writes=False))


class OneKey(FakeTokens):
    def __init__(self) -> None:
        super().__init__({"nck_one": KEY})


class Away:
    async def verify(self, token: str, *, now: object) -> Claims:
        raise Unavailable


def authorize(header: str | None, **ports: Any) -> dict[str, Any]:
    """The context of the answer."""
    given = {"key_verifier": OneKey(), **ports}
    handler = http_authorizer_entry(lambda _: fake_ports(**given), PORTS)
    headers = {} if header is None else {"Authorization": header}
    answer = handler({"version": "2.0", "type": "REQUEST", "headers": headers}, None)
    assert json.loads(json.dumps(answer)) == answer
    assert answer.keys() == {"isAuthorized", "context"}
    assert answer["isAuthorized"] is True
    context: dict[str, Any] = answer["context"]
    return context


def test_a_token_and_a_key_become_claims() -> None:
    for header, claims in (("Bearer ana", FakeTokens().known["ana"]), ("bearer nck_one", KEY)):
        context = authorize(header)
        assert msgspec.json.decode(context["claims"], type=Claims) == claims


def test_a_key_is_not_verified_as_a_token_nor_a_token_as_a_key() -> None:
    assert "claims" in authorize("Bearer nck_one", verifier=UnexpectedPort("verifier"))
    assert "claims" in authorize("Bearer ana", key_verifier=UnexpectedPort("key_verifier"))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("Basic YTpi", "invalid_auth_format"),
        ("Bearer forged", "auth_failed"),
        ("Bearer nck_two", "auth_failed"),
    ],
)
def test_an_invalid_header_becomes_a_refusal(header: str | None, code: str) -> None:
    context = authorize(header)
    assert context.keys() == {"code", "text"}
    assert context["code"] == code


def test_an_expired_token_becomes_its_own_refusal() -> None:
    """Clients refresh their token after this code."""
    expired = FakeTokens({"ana": Claims(ANA, NOON)})
    assert authorize("Bearer ana", verifier=expired)["code"] == "token_expired"


@pytest.mark.parametrize("header", ["Bearer ana", "Bearer nck_one"])
def test_an_outage_is_an_error_that_the_gateway_does_not_remember(header: str) -> None:
    with pytest.raises(Unavailable):
        authorize(header, verifier=Away(), key_verifier=Away())

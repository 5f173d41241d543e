"""The secret on AWS, and the keys derived from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.secrets import FRESH_S, Secrets
from nomadcrew.core.errors import Unavailable


@dataclass
class SecretsManager:
    """A fake Secrets Manager; `failing` simulates an error."""

    document: Any = field(default_factory=lambda: {"key": "k" * 64})
    failing: Exception | None = None
    fetches: int = 0

    async def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert (operation, body) == ("GetSecretValue", {"SecretId": "arn"})
        self.fetches += 1
        if self.failing is not None:
            raise self.failing
        text = self.document if isinstance(self.document, str) else json.dumps(self.document)
        return {"SecretString": text}


@dataclass
class FakeMonotonic:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def secrets(manager: SecretsManager, watch: FakeMonotonic | None = None) -> Secrets:
    return Secrets(cast(AwsClient, manager), "arn", monotonic=watch or FakeMonotonic())


async def test_each_purpose_has_its_own_constant_key() -> None:
    store = secrets(SecretsManager())
    purposes = ("invitations", "confirmations", "sessions", "challenge")
    assert len({store.key(purpose) for purpose in purposes}) == 4
    assert store.texts("sessions") == ("834519396f2fba2116402c27b2557b1e17ef6e053bbf17db0dbd4cf68894f20a",)


async def test_the_secret_is_fetched_every_five_minutes() -> None:
    manager, watch = SecretsManager(), FakeMonotonic()
    store = secrets(manager, watch)
    for _ in range(5):
        store.key("sessions")
    assert manager.fetches == 1
    watch.now_s += FRESH_S
    store.key("sessions")
    assert manager.fetches == 2


async def test_a_rotated_secret_signs_with_the_new_key_and_accepts_the_older() -> None:
    manager, watch = SecretsManager(), FakeMonotonic()
    store = secrets(manager, watch)
    before = store.key("sessions")
    manager.document = {"key": "n" * 64, "older": ["k" * 64]}
    assert store.keys("sessions") == (before,)
    watch.now_s += FRESH_S
    fresh, older = store.keys("sessions")
    assert older == before
    assert fresh != before


@pytest.mark.parametrize("outage", [Unavailable(), AwsError("AccessDeniedException", 400, "", {})], ids=str)
async def test_a_cached_secret_survives_an_outage(outage: Exception) -> None:
    manager, watch = SecretsManager(failing=outage), FakeMonotonic()
    store = secrets(manager, watch)
    with pytest.raises(Unavailable):
        store.key("sessions")
    manager.failing = None
    before = store.key("sessions")
    manager.failing = outage
    watch.now_s += FRESH_S
    assert store.key("sessions") == before


@pytest.mark.parametrize(
    "document",
    ["", "null", "k" * 64, {"key": 7}, {"older": []}, {"key": "short"}, {"key": "k" * 64, "older": ["x"]}],
)
async def test_an_invalid_secret_is_refused_without_showing_it(document: Any) -> None:
    with pytest.raises(ValueError, match=r"secret.*key") as caught:
        secrets(SecretsManager(document)).key("sessions")
    assert "kkkk" not in str(caught.value)
    assert caught.value.__cause__ is None

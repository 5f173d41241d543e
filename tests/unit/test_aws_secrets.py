"""Our secret on AWS, and the keys that are derived from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.secrets import FRESH_S, Secrets
from nomadcrew.core.errors import Unavailable


@dataclass
class Manager:
    """Secrets Manager, which can be out of order."""

    document: Any = field(default_factory=lambda: {"key": "k" * 64})
    failing: Exception | None = None
    asked: int = 0

    async def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert (operation, body) == ("GetSecretValue", {"SecretId": "arn"})
        self.asked += 1
        if self.failing is not None:
            raise self.failing
        text = self.document if isinstance(self.document, str) else json.dumps(self.document)
        return {"SecretString": text}


@dataclass
class Stopwatch:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def secrets(manager: Manager, watch: Stopwatch | None = None) -> Secrets:
    return Secrets(cast(AwsClient, manager), "arn", monotonic=watch or Stopwatch())


async def test_each_purpose_has_a_key_of_its_own_that_never_changes() -> None:
    ours = secrets(Manager())
    purposes = ("invitations", "confirmations", "sessions", "challenge")
    assert len({ours.key(purpose) for purpose in purposes}) == 4
    assert ours.texts("sessions") == ("834519396f2fba2116402c27b2557b1e17ef6e053bbf17db0dbd4cf68894f20a",)


async def test_the_secret_is_fetched_once_in_five_minutes() -> None:
    manager, watch = Manager(), Stopwatch()
    ours = secrets(manager, watch)
    for _ in range(5):
        ours.key("sessions")
    assert manager.asked == 1
    watch.now_s += FRESH_S
    ours.key("sessions")
    assert manager.asked == 2


async def test_a_rotated_secret_makes_with_the_new_key_and_knows_the_older() -> None:
    manager, watch = Manager(), Stopwatch()
    ours = secrets(manager, watch)
    before = ours.key("sessions")
    manager.document = {"key": "n" * 64, "older": ["k" * 64]}
    assert ours.keys("sessions") == (before,)
    watch.now_s += FRESH_S
    fresh, older = ours.keys("sessions")
    assert older == before
    assert fresh != before


@pytest.mark.parametrize("outage", [Unavailable(), AwsError("AccessDeniedException", 400, "", {})], ids=str)
async def test_an_outage_is_none_for_whoever_knows_the_secret(outage: Exception) -> None:
    manager, watch = Manager(failing=outage), Stopwatch()
    ours = secrets(manager, watch)
    with pytest.raises(Unavailable):
        ours.key("sessions")
    manager.failing = None
    before = ours.key("sessions")
    manager.failing = outage
    watch.now_s += FRESH_S
    assert ours.key("sessions") == before


@pytest.mark.parametrize(
    "document",
    ["", "null", "k" * 64, {"key": 7}, {"older": []}, {"key": "short"}, {"key": "k" * 64, "older": ["x"]}],
)
async def test_what_is_no_secret_is_named_without_showing_it(document: Any) -> None:
    with pytest.raises(ValueError, match=r"secret.*key") as caught:
        secrets(Manager(document)).key("sessions")
    assert "kkkk" not in str(caught.value)
    assert caught.value.__cause__ is None

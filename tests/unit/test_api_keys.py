"""The text of API keys, their scopes, and the record of their use."""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from nomadcrew.core.api_keys.model import ApiKey, NewApiKey
from nomadcrew.core.api_keys.ports import FoundKey
from nomadcrew.core.api_keys.texts import hash_of, new_key_text
from nomadcrew.core.api_keys.verifier import ApiKeyVerifier
from nomadcrew.core.claims import Claims, KeyScope, require_scope
from nomadcrew.core.errors import Forbidden, Unauthenticated, Unavailable
from nomadcrew.core.ids import ApiKeyId, TripId, UserId
from nomadcrew.hosts.machine.later_uses import LaterUses
from tests.fakes import ANA, NOON, UnexpectedPort

PORTO, TOKYO = (TripId(UUID(int=number)) for number in (1, 2))
KEY = ApiKeyId(UUID(int=3))


@dataclass
class Uses:
    """`ApiKeys` with one key, which records uses; the write waits for `go`."""

    text: str = field(default_factory=new_key_text)
    last_used_at: datetime | None = None
    recorded: list[datetime] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False

    async def find(self, key_hash: bytes, *, now: datetime) -> FoundKey | None:
        if key_hash != hash_of(self.text):
            return None
        claims = Claims(ANA, now + timedelta(days=1), key=KeyScope(KEY, writes=False))
        return FoundKey(claims, self.last_used_at)

    async def record_use(self, key_id: ApiKeyId, *, now: datetime) -> None:
        await self.go.wait()
        if self.away:
            raise Unavailable
        assert key_id == KEY
        self.recorded.append(now)

    async def add(self, user_id: UserId, key: NewApiKey, *, now: datetime) -> None:
        raise NotImplementedError

    async def of(self, user_id: UserId) -> list[ApiKey]:
        raise NotImplementedError

    async def delete(self, user_id: UserId, key_id: ApiKeyId) -> None:
        raise NotImplementedError


def test_a_key_has_178_random_bits_behind_its_prefix() -> None:
    texts = {new_key_text() for _ in range(100)}
    assert len(texts) == 100
    assert all(len(text) == 40 and text.startswith("nck_") and text[4:].isalnum() for text in texts)
    assert 62**30 > 2**178


def test_the_checksum_is_a_crc32_in_base_62() -> None:
    assert new_key_text(lambda _: 0) == "nck_" + "0" * 30 + base62(crc32_bit_by_bit(b"0" * 30))


def crc32_bit_by_bit(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def base62(value: int) -> str:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(digits[value // 62**place % 62] for place in range(5, -1, -1))


@pytest.mark.parametrize("place", [4, 20, 33, 34, 39])
def test_a_mistyped_key_has_no_hash(place: int) -> None:
    text = new_key_text()
    wrong = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
    assert hash_of(wrong) is None
    assert hash_of(text) is not None


@pytest.mark.parametrize(
    "text", ["", "nck_", "nck_short", "xyz_" + new_key_text()[4:], new_key_text() + "0", "nck_ü"]
)
def test_a_text_of_another_form_has_no_hash(text: str) -> None:
    assert hash_of(text) is None


async def test_a_mistyped_key_is_refused_without_a_look_up() -> None:
    verifier = ApiKeyVerifier(UnexpectedPort("api_keys"), UnexpectedPort("record_use"))
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(new_key_text()[:-1] + "-", now=NOON)
    assert refused.value.code == "invalid_api_key"


async def test_an_unknown_key_is_refused() -> None:
    uses = Uses()
    with pytest.raises(Unauthenticated) as refused:
        await ApiKeyVerifier(uses, LaterUses(uses).record).verify(new_key_text(), now=NOON)
    assert refused.value.code == "invalid_api_key"


async def test_the_use_of_a_key_is_recorded_beside_the_request() -> None:
    uses = Uses()
    later = LaterUses(uses)
    verifier = ApiKeyVerifier(uses, later.record)
    for second in (0, 1):  # the second use finds the first one's write under way
        assert (await verifier.verify(uses.text, now=NOON + timedelta(seconds=second))).user_id == ANA
    assert uses.recorded == []
    uses.go.set()
    await later.written()
    assert uses.recorded == [NOON]


@pytest.mark.parametrize(("seconds", "writes"), [(59, 0), (60, 1)])
async def test_a_use_is_recorded_once_a_minute(seconds: int, writes: int) -> None:
    uses = Uses(last_used_at=NOON - timedelta(seconds=seconds))
    uses.go.set()
    later = LaterUses(uses)
    await ApiKeyVerifier(uses, later.record).verify(uses.text, now=NOON)
    await later.written()
    assert len(uses.recorded) == writes


async def test_a_use_that_cannot_be_recorded_refuses_nothing() -> None:
    uses = Uses(away=True)
    uses.go.set()
    later = LaterUses(uses)
    verifier = ApiKeyVerifier(uses, later.record)
    for _ in range(2):
        assert (await verifier.verify(uses.text, now=NOON)).user_id == ANA
        await later.written()
    assert uses.recorded == []


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("trips", [None, frozenset({PORTO})])
@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("mutates", [True, False])
@pytest.mark.parametrize("trip", [None, PORTO, TOKYO])
def test_a_key_may_do_what_row_scope_and_trips_allow(
    writes: bool, trips: frozenset[TripId] | None, accepted: bool, mutates: bool, trip: TripId | None
) -> None:
    allowed = accepted and (writes or not mutates) and (trips is None or trip is PORTO)
    with nullcontext() if allowed else pytest.raises(Forbidden, match="API key"):
        require_scope(KeyScope(KEY, writes, trips), accepted=accepted, mutates=mutates, trip_id=trip)

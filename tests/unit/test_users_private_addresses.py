"""Private addresses: each names one user to one viewer."""

from uuid import UUID

import pytest

from nomadcrew.adapters.private_addresses import KeyedPrivateAddresses
from nomadcrew.core.ids import UserId
from tests.fakes import ANA, BEN

ADDRESSES = KeyedPrivateAddresses(lambda: (b"k" * 32,))
OF_BEN = ADDRESSES.address_of(BEN, ANA)


def test_an_address_is_the_same_at_every_look_and_fits_into_a_mailbox_name() -> None:
    assert ADDRESSES.address_of(BEN, ANA) == OF_BEN
    local, _, domain = OF_BEN.partition("@")
    assert (local[:2], domain) == ("u-", "people.invalid")
    assert len(local) <= 64


def test_an_address_names_its_user_to_its_viewer_only() -> None:
    assert ADDRESSES.user_of(f" {OF_BEN.upper()} ", ANA) == BEN
    assert ADDRESSES.user_of(OF_BEN, BEN) is None
    assert ADDRESSES.user_of(OF_BEN, UserId(UUID(int=7))) is None
    assert ADDRESSES.address_of(BEN, BEN) != OF_BEN


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ben@example.org",
        OF_BEN.replace("people.invalid", "people.example"),
        OF_BEN.replace("u-", "v-"),
        OF_BEN.replace("u-", "u-a"),
        OF_BEN[:10] + ("a" if OF_BEN[10] != "a" else "b") + OF_BEN[11:],
        OF_BEN[:40] + ("a" if OF_BEN[40] != "a" else "b") + OF_BEN[41:],
        f"u-{'1' * 52}@people.invalid",
        f"u-{'ü' * 52}@people.invalid",
    ],
)
def test_a_forged_address_names_no_user(address: str) -> None:
    assert ADDRESSES.user_of(address, ANA) is None


def test_an_address_stays_valid_after_a_new_key() -> None:
    rotated = KeyedPrivateAddresses(lambda: (b"n" * 32, b"k" * 32))
    assert rotated.user_of(OF_BEN, ANA) == BEN
    assert rotated.address_of(BEN, ANA) != OF_BEN

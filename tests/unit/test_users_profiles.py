"""The profile of a token's user."""

from datetime import timedelta
from typing import Any, cast

import pytest

from nomadcrew.core.claims import Claims
from nomadcrew.core.users import profiles
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import Profiles
from tests.fakes import ANA, NOON


class StoredAsGiven:
    async def onboard(self, profile: Profile, *, rename: bool) -> Profile:
        return profile


@pytest.mark.parametrize(
    ("metadata", "first_name", "last_name"),
    [
        ({"firstName": "Ana", "lastName": "Sousa"}, "Ana", "Sousa"),
        ({"full_name": "Ana Maria Sousa"}, "Ana", "Maria Sousa"),
        ({"firstName": "Ana\x00", "lastName": "Sousa"}, "", "Sousa"),
        ({}, "", ""),
    ],
)
async def test_names_come_from_the_identity_provider_if_they_are_well_formed(
    metadata: dict[str, Any], first_name: str, last_name: str
) -> None:
    claims = Claims(ANA, NOON + timedelta(minutes=15), email="ana@example.org", username="ana", metadata=metadata)
    stored = await profiles.onboard(claims, None, profiles=cast(Profiles, StoredAsGiven()), now=NOON)
    assert (stored.first_name, stored.last_name) == (first_name, last_name)

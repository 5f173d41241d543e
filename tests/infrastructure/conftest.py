"""Stages are synthesised once for all gates."""

from collections.abc import Mapping

import pytest

from tests.infrastructure.cloud import Cloud, synthesise

KINDS = (("rehearsal", "lean"), ("dev", "lean"), ("dev", "rec"), ("production", "document"))


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Cloud]:
    """Every stage and preset that is looked at."""
    return {
        (stage, preset): synthesise(tmp_path_factory.mktemp(f"{stage}-{preset}"), stage, preset)
        for stage, preset in KINDS
    }


@pytest.fixture(scope="session", params=KINDS, ids="-".join)
def cloud(request: pytest.FixtureRequest, clouds: Mapping[tuple[str, str], Cloud]) -> Cloud:
    """One stage after the other."""
    return clouds[request.param]


@pytest.fixture(scope="session")
def dev(clouds: Mapping[tuple[str, str], Cloud]) -> Cloud:
    return clouds["dev", "lean"]

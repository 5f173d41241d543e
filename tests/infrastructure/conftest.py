"""Every stage is synthesised once for all checks."""

from collections.abc import Mapping

import pytest

from tests.infrastructure.stage_templates import Templates, synthesise

KINDS = (("rehearsal", "lean"), ("dev", "lean"), ("dev", "rec"), ("production", "document"))


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Templates]:
    """The tested stages and presets."""
    return {
        (stage, preset): synthesise(tmp_path_factory.mktemp(f"{stage}-{preset}"), stage, preset)
        for stage, preset in KINDS
    }


@pytest.fixture(scope="session", params=KINDS, ids="-".join)
def templates(request: pytest.FixtureRequest, stages: Mapping[tuple[str, str], Templates]) -> Templates:
    """One stage after another."""
    return stages[request.param]


@pytest.fixture(scope="session")
def dev(stages: Mapping[tuple[str, str], Templates]) -> Templates:
    return stages["dev", "lean"]

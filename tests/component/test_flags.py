"""Feature flags take effect at runtime."""

import json
from pathlib import Path

import pytest

from nomadcrew.adapters.machine import flags
from tests.postgres import Postgres
from tests.world import world

SIGN_UP = {"email": "ana@example.org", "password": "Sail2Porto!"}


async def test_the_registration_flag_takes_effect_at_runtime(
    postgres: Postgres, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "LOOK_EVERY_S", 0.0)
    file = tmp_path / "flags.json"
    async with world(postgres, tmp_path, template=template) as backend:
        statuses = []
        for closed in (True, False):
            file.write_text(json.dumps({"registration": {"enabled": not closed}}))
            statuses.append((await backend.call("POST", "/v1/auth/register", body=SIGN_UP)).status)
        assert statuses == [403, 201]

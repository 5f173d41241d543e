"""Flags in a file and in AppConfig: changed at run time, and unchanged in an outage."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nomadcrew.adapters.aws.flags import POLL_S, AppConfigFlags
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import APPCONFIG
from nomadcrew.adapters.machine.flags import FileFlags
from nomadcrew.core.flags import REGISTRATION, Flags
from nomadcrew.core.ids import uuid7
from tests.contract.cloud import Cloud


@dataclass
class Board:
    """Flags and a way to change them; `set` advances the clock until the change is visible."""

    flags: Flags
    write: Callable[[str], object]
    now_s: float = 0.0

    def set(self, **flags: bool) -> None:
        self.write(json.dumps({name: {"enabled": on} for name, on in flags.items()}))
        self.now_s += POLL_S

    async def registration(self, *, otherwise: bool = True) -> bool:
        return await self.flags.enabled(REGISTRATION, otherwise=otherwise)


class Console:
    """The administrator's side of AppConfig: an application, its environment and a profile."""

    def __init__(self, cloud: Cloud) -> None:
        self._client: Any = cloud.aws.boto("appconfig")
        self.application = self._client.create_application(Name=f"flags-{uuid7()}")["Id"]
        self.environment = self._client.create_environment(ApplicationId=self.application, Name="test")["Id"]
        self.profile = self._client.create_configuration_profile(
            ApplicationId=self.application, Name="flags", LocationUri="hosted", Type="AWS.AppConfig.FeatureFlags"
        )["Id"]
        self._strategy = self._client.create_deployment_strategy(
            Name=f"at-once-{uuid7()}", DeploymentDurationInMinutes=0, GrowthFactor=100, ReplicateTo="NONE"
        )["Id"]

    def write(self, text: str) -> None:
        flags = json.loads(text)
        content = {"version": "1", "flags": {name: {"name": name} for name in flags}, "values": flags}
        version = self._client.create_hosted_configuration_version(
            ApplicationId=self.application, ConfigurationProfileId=self.profile,
            Content=json.dumps(content).encode(), ContentType="application/json",
        )["VersionNumber"]  # fmt: skip
        self._client.start_deployment(
            ApplicationId=self.application, EnvironmentId=self.environment, DeploymentStrategyId=self._strategy,
            ConfigurationProfileId=self.profile, ConfigurationVersion=str(version),
        )  # fmt: skip
        until_s = time.monotonic() + 10
        while (
            self._client.list_deployments(ApplicationId=self.application, EnvironmentId=self.environment)["Items"][
                0
            ]["State"]
            != "COMPLETE"
        ):
            assert time.monotonic() < until_s
            time.sleep(0.05)


@pytest.fixture(params=["file", "appconfig"])
def board(request: pytest.FixtureRequest, tmp_path: Path, cloud: Cloud) -> Board:
    made: Board
    if request.param == "file":
        file = tmp_path / "flags.json"
        made = Board(FileFlags(file, monotonic=lambda: made.now_s), file.write_text)
    else:
        console = Console(cloud)
        profile_path = f"{console.application}/{console.environment}/{console.profile}"
        flags = AppConfigFlags(cloud.client(APPCONFIG), profile_path, monotonic=lambda: made.now_s)
        made = Board(flags, console.write)
    return made


async def test_a_missing_flag_has_the_callers_default(board: Board) -> None:
    assert await board.registration(otherwise=True)
    assert not await board.registration(otherwise=False)
    board.set(other=True)
    assert await board.registration(otherwise=True)


async def test_a_flag_changes_at_run_time(board: Board) -> None:
    board.set(registration=False)
    assert not await board.registration()
    board.set(registration=True)
    assert await board.registration(otherwise=False)
    board.now_s += POLL_S
    assert await board.registration(otherwise=False)
    board.set(registration=False, other=True)
    assert not await board.registration()


async def test_an_unreadable_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    board: Board
    board = Board(FileFlags(file, monotonic=lambda: board.now_s), file.write_text)
    board.set(registration=False)
    assert not await board.registration()
    for text in ("{", "[]", '{"registration": true}'):
        board.write(text)
        board.now_s += POLL_S
        assert not await board.registration()
    file.unlink()
    board.now_s += POLL_S
    assert await board.registration()


async def test_an_outage_changes_nothing(cloud: Cloud) -> None:
    now_s, console = 0.0, Console(cloud)
    profile_path = f"{console.application}/{console.environment}/{console.profile}"
    console.write('{"registration": {"enabled": false}}')
    flags = AppConfigFlags(cloud.client(APPCONFIG), profile_path, monotonic=lambda: now_s)
    assert not await flags.enabled(REGISTRATION, otherwise=True)
    unreachable = AwsClient(
        APPCONFIG, environment={**cloud.aws.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    )
    flags._appconfig = unreachable
    now_s = POLL_S
    assert not await flags.enabled(REGISTRATION, otherwise=True)
    flags._appconfig = cloud.client(APPCONFIG)
    now_s = 2 * POLL_S
    console.write('{"registration": {"enabled": true}}')
    assert await flags.enabled(REGISTRATION, otherwise=False)

"""Flags in a file and in AppConfig: thrown while everything runs, and kept in an outage."""

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
    """Flags and how they are thrown; `advance` lets as much time pass as a change may take to be seen."""

    flags: Flags
    write: Callable[[str], object]
    now_s: float = 0.0

    def throw(self, **flags: bool) -> None:
        self.write(json.dumps({name: {"enabled": on} for name, on in flags.items()}))
        self.now_s += POLL_S

    async def registration(self, *, otherwise: bool = True) -> bool:
        return await self.flags.enabled(REGISTRATION, otherwise=otherwise)


class Console:
    """AppConfig's side for people: an application, its environment and a profile."""

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
        where = f"{console.application}/{console.environment}/{console.profile}"
        flags = AppConfigFlags(cloud.client(APPCONFIG), where, monotonic=lambda: made.now_s)
        made = Board(flags, console.write)
    return made


async def test_what_nobody_has_said_is_as_the_caller_wants_it(board: Board) -> None:
    assert await board.registration(otherwise=True)
    assert not await board.registration(otherwise=False)
    board.throw(other=True)
    assert await board.registration(otherwise=True)


async def test_a_flag_is_thrown_while_everything_runs(board: Board) -> None:
    board.throw(registration=False)
    assert not await board.registration()
    board.throw(registration=True)
    assert await board.registration(otherwise=False)
    board.now_s += POLL_S
    assert await board.registration(otherwise=False)
    board.throw(registration=False, other=True)
    assert not await board.registration()


async def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    kept: Board
    kept = Board(FileFlags(file, monotonic=lambda: kept.now_s), file.write_text)
    kept.throw(registration=False)
    assert not await kept.registration()
    for text in ("{", "[]", '{"registration": true}'):
        kept.write(text)
        kept.now_s += POLL_S
        assert not await kept.registration()
    file.unlink()
    kept.now_s += POLL_S
    assert await kept.registration()


async def test_an_outage_changes_nothing_and_costs_little(cloud: Cloud) -> None:
    now_s, console = 0.0, Console(cloud)
    where = f"{console.application}/{console.environment}/{console.profile}"
    console.write('{"registration": {"enabled": false}}')
    flags = AppConfigFlags(cloud.client(APPCONFIG), where, monotonic=lambda: now_s)
    assert not await flags.enabled(REGISTRATION, otherwise=True)
    away = AwsClient(APPCONFIG, environment={**cloud.aws.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    flags._appconfig = away
    now_s = POLL_S
    assert not await flags.enabled(REGISTRATION, otherwise=True)
    flags._appconfig = cloud.client(APPCONFIG)
    now_s = 2 * POLL_S
    console.write('{"registration": {"enabled": true}}')
    assert await flags.enabled(REGISTRATION, otherwise=False)

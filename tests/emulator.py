"""An AWS emulator in front of the tests' PostgreSQL. In a conftest: `from tests.emulator import aws`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from msgspec.structs import replace

from nomadcrew.adapters.aws.dataapi import Cluster
from nomadcrew.adapters.aws.sdk import client
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import Service
from rehearsal.emulator import Emulator
from tests.postgres import APPLICATION_PASSWORD, APPLICATION_USER, Postgres

# The emulator starts a process for each of several concurrent calls of a function.
PATIENCE_S = 30.0


class Aws:
    """An emulated account."""

    def __init__(self, emulator: Emulator, clock: Path) -> None:
        self.emulator = emulator
        self.environment = emulator.environment
        self._clock = clock
        self.later_s = 0.0
        self._clients: dict[Service, AwsClient] = {}

    def boto(self, service: str) -> Any:
        """A boto3 client, for tests to create and inspect resources."""
        made: Any = boto3.client
        return made(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def client(self, service: Service) -> AwsClient:
        """The project's client of a service, shared by the session."""
        if service not in self._clients:
            self._clients[service] = AwsClient(service, environment=self.environment)
        return self._clients[service]

    def advance(self, seconds: float) -> None:
        """Advance the clock of queues."""
        self.later_s += seconds
        # The emulator reads it at any time, so it is replaced atomically.
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(self.later_s))
        fresh.replace(self._clock)

    def close(self) -> None:
        for made in self._clients.values():
            made.close()


@pytest.fixture(scope="session")
def aws(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """One emulator for the session; tests use unique names."""
    clock = tmp_path_factory.mktemp("emulator") / "clock"
    clock.write_text("0")
    with (
        Emulator(postgres=postgres.pg.connect_kwargs, extra={"EMULATOR_CLOCK": str(clock)}) as emulator,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(client, "READ_TIMEOUT_S", PATIENCE_S)
        made = Aws(emulator, clock)
        yield made
        made.close()


@pytest.fixture(scope="session")
def owner(aws: Aws) -> Cluster:
    """A cluster with the Data API in front of the tests' PostgreSQL, as its owner; tests set its database."""
    secret = aws.boto("secretsmanager").create_secret(
        Name="database", SecretString='{"username": "nomadcrew", "password": "unused-by-the-emulator"}'
    )
    rds = aws.boto("rds")
    made = rds.create_db_cluster(
        DBClusterIdentifier="tests",
        Engine="aurora-postgresql",
        EnableHttpEndpoint=True,
        MasterUsername="nomadcrew",
        MasterUserPassword="unused-by-the-emulator",
    )
    return Cluster(made["DBCluster"]["DBClusterArn"], secret["ARN"], "postgres")


@pytest.fixture(scope="session")
def cluster(aws: Aws, owner: Cluster) -> Cluster:
    """The same cluster as the functions use it, as the user who may only read and write rows."""
    user = json.dumps({"username": APPLICATION_USER, "password": APPLICATION_PASSWORD})
    secret = aws.boto("secretsmanager").create_secret(Name="database-application", SecretString=user)
    return replace(owner, secret_arn=secret["ARN"])

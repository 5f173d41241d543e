"""The migrator's replies to a deployment."""

from collections.abc import Sequence

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.hosts.aws.functions.migrator import RESOURCE, migrate
from tests.fakes import fake_ports


class Schema:
    """A schema three migrations behind; `failure` simulates an error."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.runs = 0
        self._failure = failure

    async def bring_up_to_date(self) -> Sequence[str]:
        self.runs += 1
        if self._failure is not None:
            raise self._failure
        return ["0001_a", "0002_b", "0003_c"]


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize("event", [{"RequestType": "Create"}, {"RequestType": "Update"}, {}])
async def test_the_reply_names_applied_migrations(event: dict[str, str]) -> None:
    answer = await migrate(event, Context(), fake_ports(schema=Schema()))
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", RESOURCE)
    assert answer["Data"] == {"Applied": "0001_a, 0002_b, 0003_c"}


async def test_a_deleted_deployment_leaves_the_schema() -> None:
    schema = Schema()
    answer = await migrate({"RequestType": "Delete"}, Context(), fake_ports(schema=schema))
    assert (answer["Status"], schema.runs) == ("SUCCESS", 0)


async def test_the_reply_names_only_the_type_of_a_failure() -> None:
    failing = Schema(Unavailable(details="the password is hunter2"))
    answer = await migrate({"RequestType": "Update"}, Context(), fake_ports(schema=failing))
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == "Unavailable: see the migrator's log"

"""Erasures that another process has finished, and the job that runs those that are due."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from nomadcrew.core.erasure.model import Person, PersonalFile
from nomadcrew.core.erasure.service import Eraser, erase
from nomadcrew.core.ids import UserId
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS
from tests.fakes import ANA, NOON, CountingIds, fake_ports

PERSON = Person(ANA, "ana@example.org", "ana", ["ana"], ["ana@example.org"], [])


class Finished:
    """Every port of an erasure that another process finishes before this one reads its counts."""

    def __init__(self, *due: UserId) -> None:
        self.due = due
        self.done: list[str] = []

    async def list_due(self, now: datetime, *, limit: int) -> Sequence[UserId]:
        return self.due[:limit]

    async def begin(self, user_id: UserId, *, now: datetime) -> Person:
        return PERSON

    async def erase(self, person: Person) -> Mapping[str, int]:
        return {}

    async def count(self, user_id: UserId, counts: Mapping[str, int]) -> None:
        self.done.append("count")

    async def list_files(self, user_id: UserId, *, limit: int) -> Sequence[PersonalFile]:
        return []

    async def erase_rows(self, person: Person) -> None:
        self.done.append("rows")

    async def drop_user(self, user_id: UserId) -> None:
        self.done.append("mirror")

    async def counts(self, user_id: UserId) -> None:
        return None


def ports(stores: Finished) -> Any:
    names = set(Eraser.__struct_fields__) - {"new_id", "clock"}
    return fake_ports(**dict.fromkeys(names, stores), new_id=CountingIds())


async def test_an_erasure_that_another_process_finished_sends_no_second_receipt() -> None:
    stores = Finished(ANA)
    assert await erase(ANA, Eraser.of(ports(stores))) is None
    assert stores.done == ["count", "rows", "mirror"]


async def test_the_job_erases_what_is_due() -> None:
    [job] = [job for job in SCHEDULED_JOBS if job.name == "deleted-accounts"]
    for stores, erased in ((Finished(), []), (Finished(ANA), ["count", "rows", "mirror"])):
        assert await job.run(cast("Any", ports(stores)), NOON) == 0
        assert stores.done == erased

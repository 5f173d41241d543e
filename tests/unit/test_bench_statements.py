"""The benchmarks run the statements with the parameters that they have."""

import random
from uuid import uuid4

import pytest

from bench.data_fill import Size
from bench.data_lists import LISTS, List, Traveller
from bench.driver import WORK, Case
from bench.kinds import DAY, READS, TEMPLATES


@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: listed.name)
def test_a_list_gives_its_statement_exactly_its_parameters(listed: List) -> None:
    traveller = Traveller(person=uuid4(), number=7, trip=uuid4())
    given = listed.parameters(traveller, random.Random(1), Size(trips=100))
    assert set(given) == set(listed.statement.params)


def new_case() -> Case:
    return Case(
        str(uuid4()), str(uuid4()), "ana@example.org", (str(uuid4()), str(uuid4())), str(uuid4()), (str(uuid4()),)
    )


@pytest.mark.parametrize("name", WORK)
async def test_the_bare_driver_gives_each_statement_its_parameters(name: str) -> None:
    case = new_case()
    for asked in await WORK[name](case, 3):
        assert len(asked.parameters) == len(asked.statement.params)


async def test_the_bare_driver_reads_one_message_after_another() -> None:
    case = new_case()
    for name in ("receipt", "reaction"):
        for number, message in enumerate(case.messages):
            [asked] = await WORK[name](case, number)
            assert [id_ for id_ in case.messages if id_ in str(asked.parameters)] == [message]


def test_the_bare_driver_knows_every_measured_request() -> None:
    assert WORK.keys() == TEMPLATES.keys()
    assert DAY.keys() <= WORK.keys()
    assert sum(DAY[name] for name in DAY if name in READS) / sum(DAY.values()) == 0.8

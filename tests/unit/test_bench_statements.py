"""The benchmarks run the statements with the parameters that they have."""

import random
from uuid import uuid4

import pytest

from bench.data_fill import Size
from bench.data_lists import LISTS, List, Traveller
from bench.driver import WORK, Case


@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: listed.name)
def test_a_list_gives_its_statement_exactly_its_parameters(listed: List) -> None:
    traveller = Traveller(person=uuid4(), number=7, trip=uuid4())
    given = listed.parameters(traveller, random.Random(1), Size(trips=100))
    assert set(given) == set(listed.statement.params)


@pytest.mark.parametrize("name", WORK)
async def test_the_bare_driver_gives_each_statement_its_parameters(name: str) -> None:
    work = WORK[name]
    given = await work.parameters(Case(str(uuid4()), str(uuid4()), "ana@example.org"))
    assert [len(one) for one in given] == [len(statement.params) for statement in work.statements]

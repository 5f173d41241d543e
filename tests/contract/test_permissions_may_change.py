"""The rule that changes a row of a creator is the same in SQL and in the core."""

from itertools import product

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.permissions import RANKS, Rule
from tests.fakes import ANA, BEN

MAY_CHANGE = compile_statement(
    "may_change",
    "SELECT may_change(:rank::int, :creator::uuid, :caller::uuid, :min_rank::int, :own::boolean) AS allowed",
)


async def test_sql_and_core_allow_the_same_ranks_and_creators(pool: Database) -> None:
    for rank, min_rank, own, creator in product(RANKS.values(), (1, 2, 3, 4), (False, True), (ANA, BEN, None)):
        [row] = await pool.fetch(MAY_CHANGE, rank=rank, creator=creator, caller=ANA, min_rank=min_rank, own=own)
        assert row["allowed"] is Rule(min_rank, own).allows(rank, is_creator=creator == ANA)

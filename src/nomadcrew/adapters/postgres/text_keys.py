"""Key columns beside texts: their values for a write, and for rows from before there were keys."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from nomadcrew.adapters.postgres.sql import Row, Sql, Statement, compile_statement, json_param
from nomadcrew.core.text import comparison_key, email_key, search_key

BATCH = 200  # rows; the Data API returns at most 1 MiB
SHOWN = 20  # groups of rows with the same key

Key = Callable[[str], str]


def with_keys(usernames: Sequence[str]) -> str:
    """Usernames with their keys, the preferred one first, as a JSON array for statements."""
    return json_param(
        [
            {
                "priority": priority,
                "username": username,
                "username_key": comparison_key(username),
                "username_search": search_key(username),
            }
            for priority, username in enumerate(usernames, start=1)
        ]
    )


def search_columns(**texts: str | None) -> dict[str, str | None]:
    """The value of each column `<name>_search`; None for None."""
    return {f"{name}_search": None if text is None else search_key(text) for name, text in texts.items()}


class SameKey(Exception):
    """Rows that must differ have the same key; the text says which, and what to do."""


class _Table(Struct, frozen=True):
    name: str
    keys: Mapping[str, tuple[str, Key]]  # by column: the column with the text, and its key
    condition: str = "true"  # the rows to fill

    def read(self) -> Statement:
        columns = ", ".join(sorted({source for source, _ in self.keys.values()}))
        return compile_statement(
            f"read_{self.name}",
            f"SELECT id, {columns} FROM {self.name} "  # noqa: S608 — names and conditions from the tables below
            f"WHERE id > :after::uuid AND {self.condition} ORDER BY id LIMIT :limit::int",
        )

    def write(self) -> Statement:
        columns = ", ".join(f"{column} text" for column in self.keys)
        changes = ", ".join(f"{column} = new.{column}" for column in self.keys)
        return compile_statement(
            f"write_{self.name}",
            f"UPDATE {self.name} old SET {changes} "  # noqa: S608 — names from the table below
            f"FROM jsonb_to_recordset(:rows::jsonb) AS new (id uuid, {columns}) WHERE old.id = new.id",
        )


_OF_A_PERSON: Mapping[str, tuple[str, Key]] = {
    "email_key": ("email", email_key),
    "username_key": ("username", comparison_key),
    "username_search": ("username", search_key),
    "first_name_search": ("first_name", search_key),
    "last_name_search": ("last_name", search_key),
}
_TABLES = (
    _Table("user_profiles", {**_OF_A_PERSON, "contact_email_key": ("contact_email", email_key)}),
    _Table("registrations", _OF_A_PERSON),
    _Table("trip_invitations", {"email_key": ("invitee_email", email_key)}),
    _Table(
        "trips",
        {
            "destination_name_search": ("destination_name", search_key),
            "destination_address_search": ("destination_address", search_key),
        },
    ),
    _Table("chat_messages", {"folded": ("body", search_key)}),
)
# The tables of a trip that its search reads, beside its chat and its members.
_FOUND_TABLES = tuple(
    _Table(name, {f"{source}_search": (source, search_key)}, f"{source}_search IS NULL")
    for name, source in (("todos", "text"), ("polls", "question"), ("poll_options", "text"), ("documents", "name"))
)
# Of several open invitations of one trip to one mailbox, the latest stays.
_DECLINE = compile_statement(
    "decline_repeated_invitations",
    """UPDATE trip_invitations i SET status = 'DECLINED'
       WHERE status = 'PENDING' AND EXISTS (
           SELECT FROM trip_invitations later WHERE later.trip_id = i.trip_id AND later.email_key = i.email_key
               AND later.status = 'PENDING' AND (later.created_at, later.id) > (i.created_at, i.id))""",
)
_SAME = {
    column: compile_statement(
        f"same_{column}_key",
        f"SELECT string_agg(id::text, ', ' ORDER BY created_at, id) AS ids FROM user_profiles "  # noqa: S608 — two names
        f"GROUP BY {column}_key HAVING count(*) > 1 ORDER BY min(created_at) LIMIT :limit::int",
    )
    for column in ("email", "username")
}


async def fill_text_keys(sql: Sql) -> None:
    """Fill every key column.

    Raises:
        SameKey: users have the same address or username in different spellings.
    """
    for table in _TABLES:
        await _fill(sql, table)
    await sql.fetch(_DECLINE)
    problems = [await _same(sql, "email", "email address"), await _same(sql, "username", "username")]
    if any(problems):
        raise SameKey("; ".join(filter(None, problems)))


async def fill_search_keys(sql: Sql) -> None:
    """Fill the keys of to-dos, polls and documents that have none."""
    for table in _FOUND_TABLES:
        await _fill(sql, table)


async def _fill(sql: Sql, table: _Table) -> None:
    read, write, after = table.read(), table.write(), UUID(int=0)
    while rows := await sql.fetch(read, after=after, limit=BATCH):
        await sql.fetch(write, rows=json_param([_keys(table, row) for row in rows]))
        after = rows[-1]["id"]


def _keys(table: _Table, row: Row) -> dict[str, object]:
    keys = {
        column: None if row[source] is None else key(row[source]) for column, (source, key) in table.keys.items()
    }
    return {"id": row["id"], **keys}


async def _same(sql: Sql, column: str, what: str) -> str:
    """The sentence about users with the same key; empty without any."""
    groups = await sql.fetch(_SAME[column], limit=SHOWN)
    if not groups:
        return ""
    ids = "; ".join(row["ids"] for row in groups)
    return f"these users have the same {what} in different spellings, change or delete all but one of each: {ids}"

"""Erasure of users: of their rows, files and copies, on both hosts."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from nomadcrew.adapters.machine.ended_sockets import EndedSockets
from nomadcrew.adapters.noop import NoMirror
from nomadcrew.adapters.postgres.erasures import PostgresErasures
from nomadcrew.adapters.postgres.sql import Row, Sql, Statement
from nomadcrew.core.erasure.model import Person
from nomadcrew.core.erasure.ports import PersonalCopies
from nomadcrew.core.erasure.service import Eraser, delete_account, erase, erase_due
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.ids import UserId
from nomadcrew.core.ports import Ports
from nomadcrew.core.retention import DELETION_RETENTION
from tests.erasure import CONTACT, PASSWORD, Crew, crew_of, deliver, files_with, rows_with, unfilled
from tests.postgres import Postgres
from tests.world import world

LIMITLESS = {"NOMADCREW_RATE_LIMITS": "off"}


@dataclass
class Filled:
    """A database and a data folder with the crew, to be copied."""

    database: str
    home: Path
    crew: Crew


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Filled]:
    home = tmp_path_factory.mktemp("filled")
    async with world(postgres, home, template=template, environment=LIMITLESS) as made:
        crew = await crew_of(made)
        await made.pool.close()
        copy = await postgres.fresh_database(made.database)
    yield Filled(copy["database"], home, crew)
    await postgres.drop_database(copy)


@asynccontextmanager
async def copied(
    filled: Filled, postgres: Postgres, home: Path, copies: PersonalCopies | None = None
) -> AsyncIterator[Crew]:
    copies = copies or EndedSockets(wait_s=0)

    def adapt(ports: Ports, _database: str) -> Ports:
        return structs.replace(ports, personal_copies=copies)

    shutil.copytree(filled.home, home, dirs_exist_ok=True)
    async with world(postgres, home, template=filled.database, environment=LIMITLESS, adapt=adapt) as made:
        made.clock.now = filled.crew.world.clock()
        made.ports.new_id.last = filled.crew.world.ports.new_id.last  # type: ignore[attr-defined]
        yield replace(filled.crew, world=made)


@pytest_asyncio.fixture(loop_scope="session")
async def crew(filled: Filled, postgres: Postgres, tmp_path: Path) -> AsyncIterator[Crew]:
    async with copied(filled, postgres, tmp_path) as made:
        yield made


class SlowOnce(EndedSockets):
    """`PersonalCopies` that take too long at first."""

    def __init__(self) -> None:
        super().__init__(wait_s=0)
        self._is_first = True

    async def erase(self, person: Person) -> Mapping[str, int]:
        if self._is_first:
            self._is_first = False
            raise TimeoutError
        return await super().erase(person)


class OutForOne(NoMirror):
    """A mirror that is unreachable for one user."""

    def __init__(self, user_id: UserId) -> None:
        self._user_id = user_id

    async def drop_user(self, user_id: UserId) -> None:
        if user_id == self._user_id:
            raise Unavailable


class LostReplies:
    """`Sql` whose statement number `last` is committed, but its reply is lost."""

    def __init__(self, sql: Sql, last: int) -> None:
        self._sql = sql
        self._left = last

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        rows = await self._sql.fetch(statement, **params)
        self._left -= 1
        if self._left == 0:
            raise Unavailable
        return rows

    def transaction(self) -> Any:
        return self._sql.transaction()

    def in_transaction(self) -> bool:
        return self._sql.in_transaction()


async def members_of(crew: Crew, trip: object) -> dict[str, str]:
    reply = await crew.world.call("GET", f"/v1/trips/{trip}/members", by=crew.ben)
    assert reply.status == 200, reply.body
    return {member["membership"]["userId"]: member["membership"]["role"] for member in reply.json}


async def test_the_user_of_these_tests_is_in_every_column_that_refers_to_users(crew: Crew) -> None:
    assert await unfilled(crew.world, crew.zed.id) == []


async def test_no_row_and_no_file_has_an_id_a_name_or_an_address_of_an_erased_user(
    crew: Crew, tmp_path: Path
) -> None:
    assert len(await rows_with(crew.world, crew.words)) > 100
    files = len(list((tmp_path / "files").rglob("*")))
    reply = await crew.delete(immediate=True)
    assert (reply.status, reply.json["state"]) == (200, "erased"), reply.body
    await deliver(crew)
    assert await rows_with(crew.world, crew.words) == []
    assert files_with(tmp_path / "files", crew.words) == []
    assert 0 < len(list((tmp_path / "files").rglob("*"))) < files / 2


async def test_every_file_of_an_erased_user_is_deleted_but_bookings_of_a_trip(crew: Crew, tmp_path: Path) -> None:
    await crew.delete(immediate=True)
    async with crew.world.pool.connection() as connection:
        kept = await connection.fetch(
            "SELECT id::text FROM documents UNION SELECT id::text FROM pictures"
            " UNION SELECT id::text FROM attachments"
        )
        types = await connection.fetch(
            "SELECT DISTINCT d.type FROM documents d JOIN user_profiles u ON u.id = d.user_id"
            " WHERE u.first_name = 'Former member'"
        )
    stored = {path.name.partition("-original")[0] for path in (tmp_path / "files").rglob("*") if path.is_file()}
    assert stored == {row[0] for row in kept}
    assert [row[0] for row in types] == ["hotel_booking"]


async def test_a_trip_passes_to_the_longest_standing_admin(crew: Crew) -> None:
    await crew.delete(immediate=True)
    assert await members_of(crew, crew.trip) == {str(crew.ben.id): "OWNER", str(crew.eve.id): "MEMBER"}
    details = await crew.send("GET", f"/v1/trips/{crew.trip}", crew.ben)
    assert details["createdBy"] == str(crew.ben.id)


async def test_a_trip_without_an_admin_passes_to_the_longest_standing_member(crew: Crew) -> None:
    path = f"/v1/trips/{crew.trip}/members/{crew.ben.id}/role"
    await crew.send("PUT", path, crew.zed, {"role": "member"})
    await crew.delete(immediate=True)
    assert await members_of(crew, crew.trip) == {str(crew.ben.id): "MEMBER", str(crew.eve.id): "OWNER"}


async def test_a_trip_without_another_member_is_deleted(crew: Crew) -> None:
    await crew.delete(immediate=True)
    assert await crew.count("SELECT count(*) FROM trips WHERE id = ANY($1)", [crew.alone, crew.deleted]) == 0


async def test_the_crew_keeps_messages_to_dos_and_polls_of_a_former_member(crew: Crew) -> None:
    path = f"/v1/trips/{crew.trip}"
    before = await crew.send("GET", f"{path}/chat/messages?limit=50", crew.ben)
    await crew.delete(immediate=True)
    after = await crew.send("GET", f"{path}/chat/messages?limit=50", crew.ben)
    assert len(after["messages"]) == len(before["messages"])
    senders = {message["sender"]["name"] for message in after["messages"]}
    assert senders == {"Former member", "Ben"}
    texts = {message["content"] for message in after["messages"]}
    assert texts == {"at ten", "see", "Message deleted", "Hey @former-member!"}
    for kind in ("todos", "polls"):
        assert len((await crew.send("GET", f"{path}/{kind}", crew.ben))["data"]) == 2
    [poll] = [
        poll for poll in (await crew.send("GET", f"{path}/polls", crew.ben))["data"] if poll["question"] == "How?"
    ]
    assert sum(option["voteCount"] for option in poll["options"]) == 3


async def test_the_crew_sees_at_once_that_the_member_left(crew: Crew) -> None:
    crew.world.told.events.clear()
    await crew.delete(immediate=True)
    left = [event for event in crew.world.told.events if event.type == "MEMBER_REMOVED"]
    trips = {event.trip_id for event in left}
    assert trips >= {crew.trip, crew.bens}
    assert crew.left not in trips
    assert all(json.loads(event.payload)["userId"] == str(crew.zed.id) and not event.kept for event in left)


async def test_no_token_and_no_password_of_an_erased_user_works(crew: Crew) -> None:
    await crew.delete(immediate=True)
    assert (await crew.world.call("GET", "/v1/trips", by=crew.zed)).status == 401
    assert (await crew.sign_in()).code == "invalid_credentials"


async def test_a_deletion_needs_the_password(crew: Crew) -> None:
    reply = await crew.world.call(
        "DELETE", "/v1/users/me", by=crew.zed, body={"password": "wrong", "immediate": True}
    )
    assert (reply.status, reply.code) == (403, "wrong_password")
    assert await erase_due(Eraser.of(crew.world.ports)) == 0
    assert (await crew.sign_in()).status == 200


async def test_an_account_is_erased_after_its_grace_and_not_before(crew: Crew) -> None:
    reply = await crew.delete()
    due = crew.world.clock() + DELETION_RETENTION
    assert (reply.status, reply.json) == (
        200,
        {"state": "scheduled", "deletesAt": due.isoformat().replace("+00:00", "Z")},
    )
    assert await crew.world.ports.sessions.list_open(crew.zed.id, now=crew.world.clock()) == []
    crew.world.clock.now = due - timedelta(seconds=1)
    assert await erase_due(Eraser.of(crew.world.ports)) == 0
    crew.world.clock.now = due
    assert await erase_due(Eraser.of(crew.world.ports)) == 1
    assert await erase_due(Eraser.of(crew.world.ports)) == 0
    await deliver(crew)
    assert await rows_with(crew.world, crew.words) == []


async def test_a_sign_in_during_the_grace_keeps_the_account_and_is_mailed(crew: Crew) -> None:
    await crew.delete()
    await deliver(crew)
    assert (await crew.sign_in()).status == 200
    await deliver(crew)
    crew.world.clock.now += 2 * DELETION_RETENTION
    assert await erase_due(Eraser.of(crew.world.ports)) == 0
    assert (await crew.sign_in()).status == 200
    mails = "".join(path.read_text() for path in crew.world.mail.glob("*.eml"))
    assert mails.count("Subject: Your account will be deleted") == 1
    assert mails.count("Subject: Your account stays") == 1


async def test_a_sign_in_after_the_erasure_has_begun_is_refused(crew: Crew) -> None:
    await crew.delete()
    crew.world.clock.now += DELETION_RETENTION
    assert await crew.world.ports.erasures.begin(crew.zed.id, now=crew.world.clock()) is not None
    assert (await crew.sign_in()).code == "invalid_credentials"


async def test_an_immediate_deletion_ends_the_grace_of_an_earlier_one(crew: Crew) -> None:
    await crew.delete()
    token = await crew.world.token(crew.zed.id, crew.zed.username)
    reply = await crew.world.call(
        "DELETE", "/v1/users/me", body={"password": PASSWORD, "immediate": True},
        headers={"authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert reply.json["state"] == "erased"


async def test_an_erasure_that_loses_the_reply_of_any_statement_continues_and_counts_once(
    crew: Crew, filled: Filled, postgres: Postgres, tmp_path: Path
) -> None:
    async with copied(filled, postgres, tmp_path / "twin") as twin:
        receipt = (await twin.delete(immediate=True)).json["receipt"]
        expected = twin.world.ports.erasure_receipts.read(receipt).erased
    ports, now = crew.world.ports, crew.world.clock()
    await ports.sessions.end_others(crew.zed.id, None, now=now)
    await ports.erasures.request(crew.zed.id, None, due_at=now, now=now)
    eraser = Eraser.of(ports)
    for last in range(1, 1_000):
        broken = PostgresErasures(LostReplies(crew.world.pool, last))
        try:
            done = await erase(crew.zed.id, structs.replace(eraser, erasures=broken))
        except Unavailable:
            continue
        break
    assert last > 40
    await deliver(crew)
    assert await rows_with(crew.world, crew.words) == []
    # The last statement deletes the row that a repeat would continue.
    assert done is None
    mails = [
        path.read_text() for path in crew.world.mail.glob("*.eml") if "Your account is deleted" in path.read_text()
    ]
    assert len(mails) == 1
    receipt = "".join(mails[0].partition("stored:")[2].partition("To verify")[0].split())
    assert ports.erasure_receipts.read(receipt).erased == expected


async def test_an_erasure_that_takes_longer_than_a_request_is_continued_by_the_job(
    filled: Filled, postgres: Postgres, tmp_path: Path
) -> None:
    async with copied(filled, postgres, tmp_path, SlowOnce()) as crew:
        reply = await crew.delete(immediate=True)
        assert (reply.json["state"], "receipt" in reply.json) == ("erasing", False)
        assert await erase_due(Eraser.of(crew.world.ports)) == 1
        await deliver(crew)
        assert await rows_with(crew.world, crew.words) == []


async def test_an_erasure_that_fails_leaves_others_alone(crew: Crew) -> None:
    ports, now = crew.world.ports, crew.world.clock()
    for user in (crew.zed, crew.ben):
        await ports.erasures.request(user.id, None, due_at=now, now=now)
    eraser = Eraser.of(ports)
    with pytest.RaisesGroup(Unavailable):
        await erase_due(structs.replace(eraser, mirror=OutForOne(crew.zed.id)))
    assert await crew.count("SELECT count(*) FROM user_profiles WHERE id = $1", crew.ben.id) == 0
    assert await ports.erasures.list_due(now, limit=5) == [crew.zed.id]
    assert await erase_due(eraser) == 1


async def test_two_processes_that_erase_a_user_at_once_mail_one_receipt(crew: Crew) -> None:
    ports, now = crew.world.ports, crew.world.clock()
    await ports.erasures.request(crew.zed.id, None, due_at=now, now=now)
    eraser = Eraser.of(ports)
    done = await asyncio.gather(*(erase(crew.zed.id, eraser) for _ in range(3)))
    assert len([receipt for receipt in done if receipt is not None]) >= 1
    await deliver(crew)
    assert await rows_with(crew.world, crew.words) == []
    receipts = [path for path in crew.world.mail.glob("*.eml") if "Your account is deleted" in path.read_text()]
    assert len(receipts) == 1


async def test_a_user_of_another_service_is_told_whom_to_ask(crew: Crew) -> None:
    reply = await crew.world.call("DELETE", "/v1/users/me", by=crew.ben, body={"password": PASSWORD})
    assert (reply.status, reply.code) == (403, "password_elsewhere")
    assert "operator" in reply.json["message"]


async def test_an_unknown_user_has_nothing_to_erase(crew: Crew) -> None:
    now = crew.world.clock()
    with pytest.raises(NotFound):
        await crew.world.ports.erasures.request(UserId(crew.world.ports.new_id()), None, due_at=now, now=now)


async def test_the_receipt_is_mailed_and_can_be_verified_by_its_reader_only(crew: Crew) -> None:
    receipt = (await crew.delete(immediate=True)).json["receipt"]
    await deliver(crew)
    [mail] = [path.read_text() for path in crew.world.mail.glob("*.eml") if receipt in path.read_text()]
    assert f"To: {crew.zed.email}" in mail
    reply = await crew.world.call("POST", "/v1/privacy/receipts:verify", body={"receipt": receipt})
    assert reply.status == 200
    assert reply.json["userId"] == str(crew.zed.id)
    assert reply.json["erased"]["profiles"] == 1
    assert reply.json["erased"]["trips"] == 3
    forged = receipt[:10] + ("A" if receipt[10] != "A" else "B") + receipt[11:]
    for other in (forged, "no receipt", receipt + "é", f"{receipt}.x", "."):
        refused = await crew.world.call("POST", "/v1/privacy/receipts:verify", body={"receipt": other})
        assert (refused.status, refused.code) == (400, "invalid_receipt")


async def test_a_contact_address_is_erased_too(crew: Crew) -> None:
    assert await rows_with(crew.world, [CONTACT])
    await crew.delete(immediate=True)
    assert await rows_with(crew.world, [CONTACT]) == []


@pytest.mark.parametrize("login", ["zed@example.org", "zuleika", "id"])
async def test_an_operator_erases_an_account(crew: Crew, login: str) -> None:
    ports = crew.world.ports
    login = str(crew.zed.id) if login == "id" else login
    _, erasure = await delete_account(
        login, accounts=ports.accounts, sessions=ports.sessions, eraser=Eraser.of(ports)
    )
    assert erasure.user_id == crew.zed.id
    await deliver(crew)
    assert await rows_with(crew.world, crew.words) == []

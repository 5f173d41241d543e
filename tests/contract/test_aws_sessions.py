"""What the table of sessions holds, and what only AWS knows of. The contract stands in `test_sessions.py`."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from nomadcrew.adapters.aws.dynamodb.sessions import DynamoSessions, OnEnd
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, SECRETS
from nomadcrew.core.auth.errors import InvalidRefreshToken
from nomadcrew.core.auth.model import Account, Session
from nomadcrew.core.auth.sessions import hash_of
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import SessionId, UserId, uuid7
from tests.contract.aws_identity import KEY, Identity
from tests.contract.people import NOON, a_profile

LIFETIME = timedelta(days=30)


class Busy(AwsClient):
    """A client that finds others at its items for some transactions: the emulator never does."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(DYNAMODB, environment=identity.aws.environment)
        self._real = identity.aws.client(DYNAMODB)
        self.conflicts = 0
        self.lost_answers = 0

    async def call(self, operation: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if operation == "TransactWriteItems" and self.conflicts:
            self.conflicts -= 1
            reasons = {"CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]}
            raise AwsError("TransactionCanceledException", 400, "", reasons)
        answer = await self._real.call(operation, body, **options)
        if operation == "TransactWriteItems" and self.lost_answers:
            self.lost_answers -= 1
            # Our client asks again; what it did not hear of is done.
            return await self.call(operation, body, **options)
        return answer


class Table:
    """Sessions of one person, and the items behind them."""

    def __init__(self, identity: Identity, client: AwsClient | None = None, *, on_end: OnEnd | None = None) -> None:
        self.identity = identity
        self.account = Account(a_profile("ana"))
        self.sessions = DynamoSessions(
            client or identity.aws.client(DYNAMODB),
            identity.sessions_table,
            identity.secrets(),
            self.find,
            on_end=on_end,
        )

    async def find(self, user_id: UserId) -> Account | None:
        return self.account if user_id == self.account.user_id else None

    async def open(self, token: str) -> Session:
        session = Session(SessionId(uuid7()), self.account, NOON + LIFETIME)
        await self.sessions.open(session, hash_of(token), now=NOON)
        return session

    async def exchange(self, spent: str, fresh: str, seconds: int = 0) -> Session:
        now = NOON + timedelta(seconds=seconds)
        return await self.sessions.rotate(hash_of(spent), hash_of(fresh), now=now, expires_at=now + LIFETIME)

    def items(self) -> list[dict[str, Any]]:
        dynamodb = self.identity.aws.boto("dynamodb")
        found = dynamodb.scan(TableName=self.identity.sessions_table, ConsistentRead=True)["Items"]
        mine = {"S": str(self.account.user_id)}
        return [item for item in found if mine in (item["userId"], item.get("ownerId"))]


@pytest.fixture
def table(identity: Identity) -> Table:
    return Table(identity)


async def test_the_table_holds_neither_tokens_nor_their_hashes(table: Table) -> None:
    token = f"secret-{uuid7()}"
    await table.open(token)
    await table.exchange(token, f"fresh {token}")
    written = json.dumps(table.items())
    for secret in (token, f"fresh {token}"):
        assert secret not in written
        assert hash_of(secret).hex() not in written


async def test_items_expire_with_what_they_are_about(table: Table) -> None:
    token = f"first {uuid7()}"
    await table.open(token)
    assert {int(item["expiresAt"]["N"]) for item in table.items()} == {int((NOON + LIFETIME).timestamp()) + 1}
    await table.exchange(token, f"fresh {token}", 3600)
    ends = sorted(int(item["expiresAt"]["N"]) for item in table.items())
    assert [end - int((NOON + LIFETIME).timestamp()) - 1 for end in ends] == [0, 3600, 3600]


async def test_an_expired_item_that_is_still_there_opens_nothing(table: Table) -> None:
    token = f"first {uuid7()}"
    await table.open(token)
    with pytest.raises(InvalidRefreshToken):
        await table.exchange(token, "x", int(LIFETIME.total_seconds()))
    assert len(table.items()) == 2


async def test_the_index_finds_the_session_of_its_newest_token(table: Table) -> None:
    token = f"first {uuid7()}"
    session = await table.open(token)
    await table.exchange(token, f"fresh {token}")
    [stored] = [item for item in table.items() if "sessionToken" in item]
    found = table.identity.aws.boto("dynamodb").query(
        TableName=table.identity.sessions_table,
        IndexName="SessionByToken",
        KeyConditionExpression="sessionToken = :token",
        ExpressionAttributeValues={":token": stored["sessionToken"]},
    )["Items"]
    keys = {"userId": {"S": str(table.account.user_id)}, "sessionId": {"S": str(session.id)}}
    assert found == [{**keys, "sessionToken": stored["sessionToken"]}]


async def test_every_session_of_a_person_ends_and_nobody_elses(table: Table) -> None:
    opened = [await table.open(f"{n} {table.account.user_id}") for n in range(5)]
    stranger = Table(table.identity)
    kept = f"kept {uuid7()}"
    await stranger.open(kept)
    assert set(await table.sessions.end_all(table.account.user_id, now=NOON)) == {each.id for each in opened}
    assert await table.sessions.end_all(table.account.user_id, now=NOON) == []
    for n in range(5):
        with pytest.raises(InvalidRefreshToken):
            await table.exchange(f"{n} {table.account.user_id}", "x")
    await stranger.exchange(kept, f"fresh {kept}")


async def test_exchanges_that_meet_follow_one_another(identity: Identity) -> None:
    client = Busy(identity)
    table = Table(identity, client)
    token = f"first {uuid7()}"
    session = await table.open(token)
    client.conflicts = 5
    made = await asyncio.gather(*(table.exchange(token, f"{n} {token}") for n in range(4)))
    assert {each.id for each in made} == {session.id}
    client.conflicts = 10_000
    with pytest.raises(Unavailable):
        await table.exchange(f"0 {token}", f"5 {token}")
    client.conflicts = 0
    for n in range(4):
        await table.exchange(f"{n} {token}", f"fresher {n} {token}", 60)


async def test_an_exchange_whose_answer_was_lost_is_done_once(identity: Identity) -> None:
    client = Busy(identity)
    table = Table(identity, client)
    token = f"first {uuid7()}"
    await table.open(token)
    client.lost_answers = 1
    await table.exchange(token, f"second {token}")
    await table.exchange(f"second {token}", f"third {token}", 60)
    assert len(table.items()) == 4


async def test_tokens_of_an_older_key_are_exchanged_after_a_rotation(identity: Identity) -> None:
    table = Table(identity)
    token = f"first {uuid7()}"
    session = await table.open(token)
    made = identity.aws.boto("secretsmanager").create_secret(
        Name=f"rotated-{uuid7()}", SecretString=json.dumps({"key": "n" * 64, "older": [KEY]})
    )
    table.sessions = DynamoSessions(
        identity.aws.client(DYNAMODB),
        identity.sessions_table,
        Secrets(identity.aws.client(SECRETS), made["ARN"]),
        table.find,
    )
    assert (await table.exchange(token, f"second {token}")).id == session.id
    assert (await table.exchange(f"second {token}", f"third {token}")).id == session.id
    with pytest.raises(InvalidRefreshToken) as refused:
        await table.exchange(token, "x", 60)
    assert refused.value.ended == session.id


class Listener:
    """Whoever is told that sessions end, and may be out of reach."""

    def __init__(self) -> None:
        self.ended: list[tuple[UserId, SessionId]] = []
        self.away = False

    async def __call__(self, user_id: UserId, session_id: SessionId, _now: datetime) -> None:
        if self.away:
            raise Unavailable
        self.ended.append((user_id, session_id))


async def test_whoever_listens_is_told_of_every_session_that_ends(identity: Identity) -> None:
    listener = Listener()
    table = Table(identity, on_end=listener)
    me, ids = table.account.user_id, [SessionId(uuid7()) for _ in range(3)]
    hashes = [hash_of(str(id_)) for id_ in ids]
    for id_, token in zip(ids, hashes, strict=True):
        await table.sessions.open(Session(id_, table.account, NOON + LIFETIME), token, now=NOON)
    assert await table.sessions.close(hashes[0], now=NOON) == ids[0]
    await table.sessions.rotate(hashes[1], hash_of("fresh"), now=NOON, expires_at=NOON + LIFETIME)
    with pytest.raises(InvalidRefreshToken):
        await table.sessions.rotate(
            hashes[1], hash_of("stolen"), now=NOON + timedelta(minutes=1), expires_at=NOON + LIFETIME
        )
    assert await table.sessions.end_all(me, now=NOON) == [ids[2]]
    assert listener.ended == [(me, id_) for id_ in ids]


async def test_a_listener_out_of_reach_is_told_when_somebody_signs_out_again(identity: Identity) -> None:
    listener = Listener()
    table = Table(identity, on_end=listener)
    session, token = Session(SessionId(uuid7()), table.account, NOON + LIFETIME), hash_of(str(uuid7()))
    await table.sessions.open(session, token, now=NOON)
    listener.away = True
    with pytest.raises(Unavailable):
        await table.sessions.close(token, now=NOON)
    listener.away = False
    assert await table.sessions.close(token, now=NOON) == session.id
    assert listener.ended == [(table.account.user_id, session.id)]


async def test_a_stolen_token_is_refused_even_while_nobody_can_be_told(identity: Identity) -> None:
    listener = Listener()
    table = Table(identity, on_end=listener)
    session, token = Session(SessionId(uuid7()), table.account, NOON + LIFETIME), hash_of(str(uuid7()))
    await table.sessions.open(session, token, now=NOON)
    await table.sessions.rotate(token, hash_of(f"2{token!r}"), now=NOON, expires_at=NOON + LIFETIME)
    listener.away = True
    later = NOON + timedelta(minutes=1)
    with pytest.raises(InvalidRefreshToken) as refused:
        await table.sessions.rotate(token, hash_of(f"3{token!r}"), now=later, expires_at=NOON + LIFETIME)
    assert refused.value.ended == session.id

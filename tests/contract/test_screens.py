"""`Screens` with messages in PostgreSQL and in DynamoDB: each part is what its own port returns."""

import pytest

from nomadcrew.adapters.aws.screens import TwoStoreScreens
from nomadcrew.adapters.postgres.screens import PostgresScreens
from nomadcrew.core.access import Access
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.errors import NotTripMember
from nomadcrew.core.permissions import MEMBER
from nomadcrew.core.screens.model import PAGES, Part
from nomadcrew.core.screens.ports import Screens
from tests.contract.test_find import Here, here

__all__ = ["here"]


@pytest.fixture
def screens(here: Here) -> Screens:
    in_sql = PostgresScreens(here.db.pool)
    return in_sql if type(here.chat).__name__ == "PostgresChat" else TwoStoreScreens(in_sql, here.chat)


async def messages(chat: ChatLog, access: Access) -> object:
    return await chat.before(access, None, limit=PAGES[Part.MESSAGES])


async def test_a_screen_has_the_parts_of_both_stores(here: Here, screens: Screens) -> None:
    todos = [await here.todo("pack"), await here.todo("book")]
    document = await here.document("Tickets", here.trip)
    for n in range(PAGES[Part.MESSAGES] + 1):
        sent = await here.message(f"message {n}")
    await here.chat.mark_read(here.command(), sent)
    access = Access(here.trip, here.ana, MEMBER)
    screen = await screens.get(access, list(Part))
    assert screen.messages == await messages(here.chat, access)
    assert screen.messages is not None
    assert screen.messages.next is not None
    assert screen.receipts == await here.chat.list_receipts(access)
    assert [todo.id for todo in screen.todos] == [todos[1].id, todos[0].id]
    assert [one.id for one in screen.documents] == [document]
    assert [member.user_id for member in screen.members] == [here.ana, here.ben]
    assert (screen.totals[Part.TODOS], screen.totals[Part.DOCUMENTS]) == (2, 1)


async def test_parts_that_are_not_asked_for_are_empty(here: Here, screens: Screens) -> None:
    await here.todo("pack")
    await here.message("hello")
    screen = await screens.get(Access(here.trip, here.ana, MEMBER), [Part.TRIP])
    assert screen.card is not None
    assert (screen.messages, screen.todos, screen.members, screen.receipts) == (None, (), (), ())


async def test_an_outsider_is_refused(here: Here, screens: Screens) -> None:
    cleo = await here.db.user("cleo")
    with pytest.raises(NotTripMember):
        await screens.get(Access(here.trip, cleo, MEMBER), list(Part))

"""A trip's first screen: GET /v1/trips/{id}/screen."""

from msgspec import UNSET, Struct, UnsetType

from nomadcrew.api.chat.bodies import HistoryView, ReceiptView, history_view, receipt_view
from nomadcrew.api.documents.bodies import DocumentPageView, page_view
from nomadcrew.api.members.bodies import MemberWithPersonView, member_with_person
from nomadcrew.api.pictures.bodies import PhotoView
from nomadcrew.api.polls.views import Pagination as PollPagination
from nomadcrew.api.polls.views import PollPageView, poll_view
from nomadcrew.api.sync.views import photo
from nomadcrew.api.todos.bodies import Pagination, TodoPageView, todo_view
from nomadcrew.api.trips.bodies import TripView, card_view
from nomadcrew.core.documents.model import DocumentPage
from nomadcrew.core.screens.model import PAGES, Part, Screen
from nomadcrew.web.call import Call


class ScreenView(Struct):
    """The parts that were asked for, each as its own route returns it."""

    trip: TripView | UnsetType = UNSET
    members: list[MemberWithPersonView] | UnsetType = UNSET
    todos: TodoPageView | UnsetType = UNSET
    polls: PollPageView | UnsetType = UNSET
    documents: DocumentPageView | UnsetType = UNSET
    photos: list[PhotoView] | UnsetType = UNSET
    messages: HistoryView | UnsetType = UNSET
    receipts: list[ReceiptView] | UnsetType = UNSET


def screen_view(screen: Screen, parts: frozenset[Part], call: Call) -> ScreenView:
    view = ScreenView()
    if screen.card is not None:
        view.trip = card_view(screen.card)
    if Part.MEMBERS in parts:
        view.members = [member_with_person(member) for member in screen.members]
    if Part.TODOS in parts:
        pagination = Pagination(PAGES[Part.TODOS], 0, screen.totals.get(Part.TODOS, 0))
        view.todos = TodoPageView([todo_view(todo) for todo in screen.todos], pagination)
    if Part.POLLS in parts:
        counts = PollPagination(PAGES[Part.POLLS], 0, screen.totals.get(Part.POLLS, 0))
        view.polls = PollPageView([poll_view(poll, call.user_id) for poll in screen.polls], counts)
    if Part.DOCUMENTS in parts:
        page = DocumentPage(screen.documents, screen.totals.get(Part.DOCUMENTS, 0))
        view.documents = page_view(page, PAGES[Part.DOCUMENTS], 0)
    if Part.PHOTOS in parts:
        view.photos = [photo(picture, call) for picture in screen.photos]
    if screen.messages is not None:
        view.messages = history_view(screen.messages, limit=PAGES[Part.MESSAGES], before=None)
    if Part.RECEIPTS in parts:
        view.receipts = [receipt_view(receipt) for receipt in screen.receipts]
    return view

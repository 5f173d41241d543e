"""A trip's shared to-dos: /v1/trips/{id}/todos."""

from nomadcrew.api.todos.bodies import (
    MessageView,
    NewTodoIn,
    Pagination,
    TodoChangeIn,
    TodoPageView,
    TodoView,
    todo_view,
)
from nomadcrew.core.clock import in_utc
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import TodoId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.todos import service
from nomadcrew.core.versions import Versioned
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.etags import based_on_match
from nomadcrew.web.pages import AFTER, after_of, last_of, paged
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes

routes = Routes("todos", ports=("idempotency", "limits", "open_sessions", "outbox", "todos", "versions"))
PAGE = (
    Param("limit", "integer", "Page size, 1 to 100. Default: 100."),
    Param("offset", "integer", "Number of to-dos to skip, without `after`. Default: 0."),
    AFTER,
)
MAX_OFFSET = 1_000_000


def todo_id(call: Call) -> TodoId:
    """The to-do id in the path.

    Raises:
        NotFound: the id is malformed.
    """
    return TodoId(call.id("todoId", NotFound("todo", code="todo_not_found")))


@routes.post("/v1/trips/{id}/todos", status=201, gate=Gate("todo", "create"), idempotency=Idempotency.FINGERPRINT)
async def create_todo(call: Call, body: NewTodoIn) -> TodoView:
    """Create a to-do.

    An assignee must be a member of the trip, and is notified. The same body sent again within 30 seconds returns
    the first to-do.
    """
    todo = await service.create_todo(
        call.trip_id,
        body.text,
        call.user_id,
        todos=call.ports.todos,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
        assignee_id=None if body.assignee_id is None else UserId(body.assignee_id),
        due_at=None if body.due_at is None else in_utc(body.due_at, "dueAt"),
        position=body.position,
    )
    return todo_view(todo)


@routes.get("/v1/trips/{id}/todos", gate=Gate("todo", "read"), query=PAGE, refusals=(400,))
async def list_todos(call: Call) -> TodoPageView | Reply:
    """List a trip's to-dos, newest first.

    The Link header leads to the next page.
    """
    limit, after = call.count("limit", default=100, lowest=1, highest=100), after_of(call)
    offset = 0 if after else call.count("offset", default=0, highest=MAX_OFFSET)
    page = await service.list_todos(
        call.trip_id, call.user_id, todos=call.ports.todos, limit=limit, offset=offset, after=after
    )
    last = last_of(page.items, limit, lambda todo: After(todo.created_at, todo.id))
    return paged(
        call, TodoPageView([todo_view(todo) for todo in page.items], Pagination(limit, offset, page.total)), last
    )


@routes.get("/v1/trips/{id}/todos/{todoId}", gate=Gate("todo", "read"), versioned=True)
async def get_todo(call: Call) -> TodoView:
    """Get a to-do."""
    return todo_view(await service.get_todo(call.trip_id, todo_id(call), call.user_id, todos=call.ports.todos))


@routes.put("/v1/trips/{id}/todos/{todoId}", gate=Gate("todo", "update"), versioned=True)
async def update_todo(call: Call, body: TodoChangeIn) -> TodoView:
    """Update a to-do.

    Allowed for its creator and for admins. A new assignee is notified.
    """
    async with based_on_match(call, Versioned.TODO, todo_id(call), body.to_change(), get_todo):
        todo = await service.change_todo(
            call.trip_id,
            todo_id(call),
            call.user_id,
            body.to_change(),
            todos=call.ports.todos,
            new_id=call.ports.new_id,
            now=call.now,
        )
    return todo_view(todo)


@routes.delete("/v1/trips/{id}/todos/{todoId}", gate=Gate("todo", "delete"))
async def delete_todo(call: Call) -> MessageView:
    """Delete a to-do.

    Allowed for its creator and for admins.
    """
    await service.delete_todo(
        call.trip_id,
        todo_id(call),
        call.user_id,
        todos=call.ports.todos,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return MessageView("Todo deleted successfully")

"""All routes of the API, read by both hosts, OpenAPI, the tests and the infrastructure."""

from nomadcrew.functions import auth, chat, invitation, location, member, notification, page, todo, trip, user
from nomadcrew.wire.routes import Route, Routes

FUNCTIONS: tuple[Routes, ...] = (
    auth.routes,
    user.routes,
    trip.routes,
    member.routes,
    invitation.routes,
    todo.routes,
    chat.routes,
    notification.routes,
    location.routes,
    page.routes,
)
ALL_ROUTES: tuple[Route, ...] = tuple(route for routes in FUNCTIONS for route in routes)

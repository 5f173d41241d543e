"""All routes of the API, read by both hosts, OpenAPI, the tests and the infrastructure."""

from nomadcrew.api.archives import routes as archives
from nomadcrew.api.auth import routes as auth
from nomadcrew.api.calendars import routes as calendars
from nomadcrew.api.chat import routes as chat
from nomadcrew.api.documents import routes as documents
from nomadcrew.api.erasure import routes as erasure
from nomadcrew.api.feedback import routes as feedback
from nomadcrew.api.identities import routes as identities
from nomadcrew.api.invitations import routes as invitations
from nomadcrew.api.locations import routes as locations
from nomadcrew.api.members import routes as members
from nomadcrew.api.notifications import routes as notifications
from nomadcrew.api.pages import routes as pages
from nomadcrew.api.passkeys import routes as passkeys
from nomadcrew.api.pictures import routes as pictures
from nomadcrew.api.places import routes as places
from nomadcrew.api.polls import routes as polls
from nomadcrew.api.sync import routes as sync
from nomadcrew.api.todos import routes as todos
from nomadcrew.api.trips import routes as trips
from nomadcrew.api.users import routes as users
from nomadcrew.api.weather import routes as weather
from nomadcrew.api.webhooks import routes as webhooks
from nomadcrew.web.routes import Route, Routes

FUNCTIONS: tuple[Routes, ...] = (
    auth.routes,
    identities.routes,
    passkeys.routes,
    users.routes,
    erasure.routes,
    trips.routes,
    archives.routes,
    members.routes,
    invitations.routes,
    todos.routes,
    calendars.routes,
    polls.routes,
    chat.routes,
    documents.routes,
    pictures.routes,
    webhooks.routes,
    notifications.routes,
    sync.routes,
    locations.routes,
    weather.routes,
    places.routes,
    feedback.routes,
    pages.routes,
)
ALL_ROUTES: tuple[Route, ...] = tuple(route for routes in FUNCTIONS for route in routes)

"""Entities as their own routes return them."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from nomadcrew.api.chat.bodies import message_view, reaction_view, receipt_view
from nomadcrew.api.documents.bodies import document_view
from nomadcrew.api.invitations.bodies import invitation_for
from nomadcrew.api.locations.bodies import trip_sharing_view
from nomadcrew.api.members.bodies import member_with_person
from nomadcrew.api.notifications.bodies import notification_view
from nomadcrew.api.notifications.preferences import preferences_view, trip_preferences_view
from nomadcrew.api.pictures.bodies import PhotoView, photo_view
from nomadcrew.api.polls.views import poll_view
from nomadcrew.api.sync.bodies import ChangeView
from nomadcrew.api.todos.bodies import todo_view
from nomadcrew.api.trips.bodies import card_view
from nomadcrew.api.users.bodies import own_profile
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.pictures.service import links_to
from nomadcrew.core.polls.model import Poll
from nomadcrew.core.sync.model import Change, Kind, SyncedMessage
from nomadcrew.web.call import Call
from nomadcrew.web.dispatch import encode
from nomadcrew.web.etags import etag_of


def _poll(poll: Poll, call: Call) -> object:
    return poll_view(poll.at(call.now).seen_by(call.user_id), call.user_id)


def photo(picture: Picture, call: Call) -> PhotoView:
    links = links_to(picture, files=call.ports.picture_links, now=call.now)
    return photo_view(picture, links, call.ports.site.public_url)


VIEWS: Mapping[Kind, Callable[[Any, Call], object]] = {
    Kind.TRIP: lambda card, _: card_view(card),
    Kind.MEMBER: lambda member, _: member_with_person(member),
    Kind.INVITATION: lambda one, call: invitation_for(one, call.user_id, call.ports.private_addresses),
    Kind.TODO: lambda todo, _: todo_view(todo),
    Kind.MESSAGE: lambda synced, _: message_view(synced.message),
    Kind.RECEIPT: lambda receipt, _: receipt_view(receipt),
    Kind.POLL: _poll,
    Kind.DOCUMENT: lambda document, _: document_view(document),
    Kind.PHOTO: photo,
    Kind.SHARING: lambda sharing, call: trip_sharing_view(sharing, call.now),
    Kind.TRIP_PREFERENCES: lambda preferences, _: trip_preferences_view(preferences),
    Kind.PROFILE: lambda profile, _: own_profile(profile),
    Kind.PREFERENCES: lambda preferences, _: preferences_view(preferences),
    Kind.NOTIFICATION: lambda notification, _: notification_view(notification),
}
_VERSIONED = frozenset({Kind.TRIP, Kind.TODO, Kind.POLL, Kind.DOCUMENT, Kind.PROFILE})


def change_view(change: Change, call: Call) -> ChangeView:
    trip_id = UNSET if change.trip_id is None else change.trip_id
    if change.entity is None:
        return ChangeView(change.kind, change.id, trip_id, deleted=True)
    data = encode(VIEWS[change.kind](change.entity, call))
    return ChangeView(
        change.kind,
        change.id,
        trip_id,
        data=Raw(data),
        reactions=_reactions(change.entity),
        etag=etag_of(data) if change.kind in _VERSIONED else UNSET,
    )


def _reactions(entity: object) -> Raw | UnsetType:
    if not isinstance(entity, SyncedMessage):
        return UNSET
    return Raw(encode([reaction_view(reaction) for reaction in entity.reactions]))

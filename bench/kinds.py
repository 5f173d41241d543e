"""The measured requests, as templates for the fields of `World.people_and_trips`."""

from collections.abc import Mapping

from bench.requests import Template
from bench.world import PASSWORD

POSITIONS = 50  # in a batch
# As in bench.driver: a user who stays within ten metres.
_POSITION = '"latitude":41.14000{unique},"longitude":-8.61,"accuracy":8,"privacy":"precise"'
_BATCH = ",".join(
    f'{{"latitude":41.1400{n % 10},"longitude":-8.61,"accuracy":8,"timestamp":{{now_ms-{(POSITIONS - n) * 2000}}}}}'
    for n in range(POSITIONS)
)

READS: Mapping[str, Template] = {
    "trips": Template("GET", "/v1/trips"),
    "trip": Template("GET", "/v1/trips/{trip}"),
    "notifications": Template("GET", "/v1/notifications"),
    "messages": Template("GET", "/v1/trips/{trip}/chat/messages"),
    "locations": Template("GET", "/v1/trips/{trip}/locations"),
    "polls": Template("GET", "/v1/trips/{trip}/polls"),
    # From memory, after the first request.
    "weather": Template("GET", "/v1/trips/{trip}/weather"),
    "suggest": Template("GET", "/v1/places/suggest?q={letters}&near=41.15,-8.61"),
}
WRITES: Mapping[str, Template] = {
    # The same text twice within half a minute would be a replay, which is not measured here.
    "todo": Template("POST", "/v1/trips/{trip}/todos", {"text": "pack {unique}"}),
    "chat": Template("POST", "/v1/trips/{trip}/chat/messages", {"content": "on my way, {unique}"}),
    "receipt": Template("PUT", "/v1/trips/{trip}/chat/messages/read", {"lastReadMessageId": "{message}"}),
    "reaction": Template("POST", "/v1/trips/{trip}/chat/messages/{message}/reactions", {"emoji": "👍"}),
    "vote": Template("POST", "/v1/trips/{trip}/polls/{poll}/vote", {"optionId": "{option}"}),
    "position": Template("POST", "/v1/trips/{trip}/locations", f"{{{_POSITION}}}"),
    "positions": Template("POST", "/v1/trips/{trip}/locations:batch", f'{{"locations":[{_BATCH}]}}'),
}
TEMPLATES: Mapping[str, Template] = {
    **READS,
    **WRITES,
    "login": Template("POST", "/v1/auth/login", {"email": "{email}", "password": PASSWORD}),
}
# The plain stack has no weather and no places.
WITHOUT_PLAIN = frozenset({"weather", "suggest"})
# A day of a crew: reads, 80 of a hundred requests, and writes.
DAY: Mapping[str, float] = {
    "trips": 10, "trip": 15, "notifications": 15, "messages": 25, "locations": 15,
    "todo": 1, "chat": 5, "receipt": 3, "reaction": 1, "position": 10,
}  # fmt: skip


def weights(kind: str) -> Mapping[str, float]:
    """The templates of a kind of request, with their weights."""
    return DAY if kind == "day" else {kind: 1}

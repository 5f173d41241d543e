"""The rights of members on a trip.

A rule is a minimum rank, optionally with an exception for the creator of a row. The statement that reads or writes
compares the rule with the caller's rank in the database, so no permission is cached beyond the request.
"""

from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    OWNER = "OWNER"
    ADMIN = "ADMIN"
    MEMBER = "MEMBER"

    @property
    def rank(self) -> int:
        return RANKS[self]


RANKS = {Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}


class Rule(Struct, frozen=True):
    """`min_rank` admits that rank and above; `own` also admits the creator, with any rank."""

    min_rank: int
    own: bool = False

    def allows(self, rank: int, *, is_creator: bool) -> bool:
        """True if a caller of that rank may change a row; `may_change` in SQL is the same test."""
        return rank >= self.min_rank or (self.own and is_creator)


MEMBER, ADMIN, OWNER = Rule(1), Rule(2), Rule(3)
OWN_OR_ADMIN = Rule(2, own=True)
OWN = Rule(4, own=True)  # above every rank

RULES: dict[tuple[str, str], Rule] = {
    ("trip", "read"): MEMBER,
    ("trip", "find"): MEMBER,  # no lower than the rules by which the kinds of its results are read
    ("trip", "update"): ADMIN,
    ("trip", "delete"): OWNER,
    ("member", "read"): MEMBER,
    ("member", "create"): OWNER,
    ("member", "remove"): ADMIN,  # of MEMBERs; only the OWNER removes ADMINs
    ("member", "change_role"): ADMIN,
    ("member", "leave"): MEMBER,
    ("invitation", "create"): ADMIN,
    ("invitation", "read"): ADMIN,
    ("invitation", "delete"): ADMIN,
    ("presence", "read"): MEMBER,
    ("webhook", "create"): ADMIN,
    ("webhook", "read"): ADMIN,
    ("webhook", "update"): ADMIN,
    ("webhook", "delete"): ADMIN,
    ("webhook", "redeliver"): ADMIN,
    ("notification_preferences", "read"): MEMBER,  # the member's own
    ("notification_preferences", "update"): MEMBER,
    ("todo", "create"): MEMBER,
    ("todo", "read"): MEMBER,
    ("todo", "update"): OWN_OR_ADMIN,
    ("todo", "delete"): OWN_OR_ADMIN,
    # Of a trip's wallet; a document of the user's own wallet is for its user only.
    ("document", "create"): MEMBER,
    ("document", "read"): MEMBER,
    ("document", "update"): OWN,
    ("document", "delete"): OWN,
    # The contract has the rule of trip updates; members add their own photos, and no app called its routes.
    ("photo", "create"): MEMBER,
    ("photo", "read"): MEMBER,
    ("photo", "delete"): OWN_OR_ADMIN,
    ("poll", "create"): MEMBER,
    ("poll", "read"): MEMBER,
    ("poll", "vote"): MEMBER,
    ("poll", "add_option"): MEMBER,
    ("poll", "update"): OWN_OR_ADMIN,
    ("poll", "close"): OWN_OR_ADMIN,
    ("poll", "delete"): OWN_OR_ADMIN,
    ("poll", "apply"): OWN_OR_ADMIN,  # dates and destination also need the right to update the trip
    ("chat", "create"): MEMBER,
    ("chat", "read"): MEMBER,
    ("chat", "react"): MEMBER,
    ("chat", "update"): OWN,
    ("chat", "delete"): OWN_OR_ADMIN,
    # The member's own position; privacy decides which positions others see.
    ("location", "create"): MEMBER,
    ("location", "read"): MEMBER,
    ("location", "update"): MEMBER,
    ("meeting_point", "read"): MEMBER,
    ("meeting_point", "update"): MEMBER,
    ("meeting_point", "delete"): MEMBER,
}


def rule(resource: str, action: str) -> Rule:
    """The rule for an action.

    Raises:
        KeyError: there is no such rule. Declaring a route without a rule fails.
    """
    return RULES[resource, action]

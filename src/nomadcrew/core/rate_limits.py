"""Rate limits: named token buckets, whose burst equals their count.

Buckets are per user, or per IP address for requests without a token. Every number is a setting.
"""

from ipaddress import IPv6Address
from typing import Protocol

from msgspec import Struct


class Limit(Struct, frozen=True):
    """`count` requests per `per_s` seconds, refilled continuously."""

    count: int
    per_s: int


LIMITS: dict[str, Limit] = {
    "default": Limit(600, 60),
    "sign_in": Limit(10, 60),
    # Only failures spend these: per account and network or device, and per account over all networks.
    "failed_sign_in": Limit(5, 900),
    "failed_sign_in_total": Limit(100, 3600),
    "bad_token": Limit(120, 60),  # per address; only refused tokens spend it
    "register": Limit(20, 3600),
    "feedback": Limit(10, 3600),
    "trip_create": Limit(30, 60),
    "trip_export": Limit(60, 3600),
    "trip_import": Limit(10, 3600),
    "invite": Limit(30, 60),
    "api_key_create": Limit(10, 60),
    "calendar_create": Limit(10, 60),
    "contact_email": Limit(5, 3600),
    "chat": Limit(10, 1),
    "chat_trip": Limit(20, 1),  # per trip
    "upload": Limit(20, 60),
    "webhook": Limit(20, 60),
    "weather": Limit(60, 60),
    "places": Limit(120, 60),
    "positions": Limit(2, 1),
    "position_batches": Limit(10, 60),
}


def network_of(client_ip: str) -> str:
    """The key of a client's network: an IPv4 address, or the /64 of an IPv6 address, which one client has whole.

    Another text is its own key.
    """
    if ":" not in client_ip:
        return client_ip
    try:
        address = IPv6Address(client_ip)
    except ValueError:
        return client_ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


class Allowance(Struct, frozen=True):
    """The state of a bucket after a request. The bucket is full again after `reset_s` seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int


class RateLimits(Protocol):
    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """Spend `cost` from a bucket; a cost of 0 only reads it, a negative cost gives tokens back.

        Never raises: an outage allows the request.
        """
        ...

"""The addresses to which webhooks may be sent: those of the internet, and networks that the operator names.

A receiver's name is chosen by a user. Without this rule, it could lead the server to services of its own machine or
network, or to the metadata of its cloud.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from nomadcrew.core.webhooks.model import MAX_URL, UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Python calls these global, some in some versions only: protocol assignments, and relays and tunnels, which lead to
# an IPv4 address within (RFC 3056, RFC 4380).
_SPECIAL = tuple(ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16"))
# The unicast addresses of the internet; those beyond carry or stand for others, such as 64:ff9b::/96 (RFC 6052).
_UNICAST = ip_network("2000::/3")


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks in a setting, such as `10.0.0.0/8`.

    Raises:
        ValueError: a text is not a network.
    """
    return tuple(ip_network(text) for text in texts)


def may_receive(address: Address, scheme: str, networks: Sequence[Network]) -> bool:
    """True if a webhook may be sent to an address: over https to the internet, over both to `networks`."""
    plain = _plain(address)
    if any(plain in network for network in networks):
        return True
    return scheme == "https" and _is_public(plain)


def check_url(url: str, networks: Sequence[str]) -> None:
    """Check the text of a URL; names are resolved when the webhook is sent.

    Raises:
        UrlRefused: it is malformed, or its scheme or address may not receive webhooks.
    """
    parts, allowed = split(url), parse_networks(networks)
    if parts is None or (parts.scheme == "http" and not allowed):
        raise UrlRefused
    address = literal(parts.hostname or "")
    if address is not None and not may_receive(address, parts.scheme, allowed):
        raise UrlRefused


def split(url: str) -> SplitResult | None:
    """The parts of an http or https URL with a host; None for any other text."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    has_user = "@" in parts.netloc
    valid = (
        parts.scheme in ("http", "https") and parts.hostname and port != 0 and not has_user and not parts.fragment
    )
    return parts if valid else None


def literal(host: str) -> Address | None:
    """The address that a host is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """The IPv4 address in a mapped one, as the system connects to it."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return not any(address in network for network in _SPECIAL)

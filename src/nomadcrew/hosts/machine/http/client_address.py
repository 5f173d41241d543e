"""Who is calling, when there may be a proxy in between."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Any of these says that somebody passed the request on, whoever the peer is.
FORWARDING_HEADERS = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed; none, unless the setting names them."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted` holds addresses and networks, such as `10.0.0.5` or `10.0.0.0/8`.

        Raises:
            ValueError: one of them is neither; the sentence names it.
        """
        self._networks = [_network(text) for text in trusted]
        # The peer is one of few proxies in every request, and parsing it each time would cost microseconds.
        self._is_trusted = lru_cache(maxsize=1024)(self._in_networks)

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of whoever sent the request: the rightmost one that no trusted proxy vouches against.

        Each proxy appends the address it saw, so what stands left of the first stranger is the stranger's own
        claim. A header with anything but addresses there is nobody's word: then it is the peer.
        """
        if not self._networks or not self._is_trusted(peer):
            return peer
        client = peer
        for entry in reversed(headers.get("x-forwarded-for", "").split(",")):
            address = _parse(entry)
            if address is None:
                return peer
            client = str(address)
            if not self._is_trusted(client):
                return client
        return client

    def _in_networks(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._networks)


def subscriber(client: str) -> str:
    """What rate limits count by: an IPv4 address, or the /64 that one line gets under IPv6.

    A home has 2^64 addresses of its own there, and would have as many fresh buckets.
    """
    if ":" not in client:
        return client
    address = _parse(client)
    if not isinstance(address, IPv6Address):
        return client if address is None else str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def is_direct_loopback(peer: str, headers: Mapping[str, str]) -> bool:
    """Whether the request came from this machine without a proxy on it passing it on."""
    address = _parse(peer)
    return address is not None and address.is_loopback and FORWARDING_HEADERS.isdisjoint(headers)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no address or network of a trusted proxy; write 10.0.0.5 or 10.0.0.0/8."
        ) from None


def _parse(text: str) -> Address | None:
    """An address as proxies write it: bare, or with a port, IPv6 then in brackets; IPv4 in IPv6 as IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address

"""The address of the client, with or without reverse proxies."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Each of these says that a proxy forwarded the request, whatever the peer's address.
FORWARDING_HEADERS = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is trusted; none, unless the setting names them."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted`: addresses and networks, such as `10.0.0.5` or `10.0.0.0/8`.

        Raises:
            ValueError: an entry is neither; the message names it.
        """
        self._networks = [_network(text) for text in trusted]
        # Cached: the peer is one of few proxies in every request, and parsing takes microseconds.
        self._is_trusted = lru_cache(maxsize=1024)(self._in_networks)

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The client's address: the rightmost address in `X-Forwarded-For` that is not a trusted proxy's.

        Each proxy appends the address of its peer, so entries left of the first untrusted address are that client's
        own claims. If an entry is not an address, the header is ignored and the client is the peer.
        """
        if not self.trusts(peer):
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

    def trusts(self, peer: str) -> bool:
        """True if the peer is one of the proxies."""
        return bool(self._networks) and self._is_trusted(peer)

    def _in_networks(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._networks)


def is_direct_loopback(peer: str, headers: Mapping[str, str]) -> bool:
    """True if the request came from this machine directly, not through a proxy on it."""
    address = _parse(peer)
    return address is not None and address.is_loopback and FORWARDING_HEADERS.isdisjoint(headers)


def names_loopback(host: str) -> bool:
    """True if the Host header names this machine by address or as localhost.

    A web page can lead any other name to this machine, and then read what is answered to its visitor.
    """
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    if name.lower() == "localhost":
        return True
    address = _parse(name)
    return address is not None and address.is_loopback


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address or network; use 10.0.0.5 or 10.0.0.0/8 for trusted proxies."
        ) from None


def _parse(text: str) -> Address | None:
    """An address as proxies write it: bare, or with a port (IPv6 in brackets). IPv4 mapped to IPv6 becomes IPv4."""
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

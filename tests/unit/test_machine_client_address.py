"""The address of the client."""

import pytest

from nomadcrew.core.rate_limits import network_of
from nomadcrew.hosts.machine.http.client_address import TrustedProxies, is_direct_loopback

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"])


def client(forwarded_for: str, peer: str = "10.0.0.1", proxies: TrustedProxies = PROXIES) -> str:
    return proxies.client(peer, {"x-forwarded-for": forwarded_for})


def test_forwarded_headers_are_ignored_without_the_setting() -> None:
    assert client("203.0.113.9", proxies=TrustedProxies()) == "10.0.0.1"
    assert client("203.0.113.9", "127.0.0.1", TrustedProxies()) == "127.0.0.1"


def test_an_untrusted_peer_is_the_client() -> None:
    assert client("203.0.113.9", "198.51.100.1") == "198.51.100.1"


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6,203.0.113.9 , 192.0.2.7,10.1.2.3", "203.0.113.9"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("2001:0DB8:0::5, 2001:db8:1::9", "2001:db8::5"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("garbage, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_rightmost_untrusted_address_is_the_client(forwarded_for: str, expected: str) -> None:
    assert client(forwarded_for) == expected


@pytest.mark.parametrize(
    "forwarded_for", ["", " ", "unknown", "203.0.113.9, unknown", "203.0.113.9,,10.0.0.2", "1.2.3", "_hidden"]
)
def test_an_invalid_header_leaves_the_peer(forwarded_for: str) -> None:
    assert client(forwarded_for) == "10.0.0.1"


def test_a_missing_header_leaves_the_peer() -> None:
    assert PROXIES.client("10.0.0.1", {}) == "10.0.0.1"


def test_a_unix_socket_has_no_trusted_address() -> None:
    assert client("203.0.113.9", "") == ""


def test_an_ipv4_mapped_peer_is_the_same_proxy() -> None:
    assert client("203.0.113.9", "::ffff:10.0.0.1") == "203.0.113.9"


def test_an_invalid_setting_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0' is not an address or network"):
        TrustedProxies(["10.0.0"])


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
        ("a:b", "a:b"),
    ],
)
def test_limits_count_an_ipv6_network_as_one_client(address: str, counted_as: str) -> None:
    assert network_of(address) == counted_as


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_recognised(peer: str) -> None:
    assert is_direct_loopback(peer, {"host": "localhost"})


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.9", "", "localhost", "::2"])
def test_other_addresses_are_not_loopback(peer: str) -> None:
    assert not is_direct_loopback(peer, {})


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host"])
def test_a_request_through_a_local_proxy_is_not_loopback(header: str) -> None:
    assert not is_direct_loopback("127.0.0.1", {header: "127.0.0.1"})

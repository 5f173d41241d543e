"""Who is calling."""

import pytest

from nomadcrew.hosts.machine.http.client_address import TrustedProxies, is_direct_loopback, subscriber

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"])


def client(forwarded_for: str, peer: str = "10.0.0.1", proxies: TrustedProxies = PROXIES) -> str:
    return proxies.client(peer, {"x-forwarded-for": forwarded_for})


def test_nobody_is_believed_without_the_setting() -> None:
    assert client("203.0.113.9", proxies=TrustedProxies()) == "10.0.0.1"
    assert client("203.0.113.9", "127.0.0.1", TrustedProxies()) == "127.0.0.1"


def test_a_stranger_is_not_believed() -> None:
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
def test_the_rightmost_stranger_is_the_client(forwarded_for: str, expected: str) -> None:
    assert client(forwarded_for) == expected


@pytest.mark.parametrize(
    "forwarded_for", ["", " ", "unknown", "203.0.113.9, unknown", "203.0.113.9,,10.0.0.2", "1.2.3", "_hidden"]
)
def test_what_is_no_address_leaves_the_peer(forwarded_for: str) -> None:
    assert client(forwarded_for) == "10.0.0.1"


def test_no_header_leaves_the_peer() -> None:
    assert PROXIES.client("10.0.0.1", {}) == "10.0.0.1"


def test_a_peer_on_a_unix_socket_has_no_address_to_trust() -> None:
    assert client("203.0.113.9", "") == ""


def test_an_ipv4_peer_of_an_ipv6_socket_is_the_same_proxy() -> None:
    assert client("203.0.113.9", "::ffff:10.0.0.1") == "203.0.113.9"


def test_a_wrong_setting_gets_a_sentence() -> None:
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
def test_limits_count_a_whole_line_under_ipv6(address: str, counted_as: str) -> None:
    assert subscriber(address) == counted_as


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_this_machine(peer: str) -> None:
    assert is_direct_loopback(peer, {"host": "localhost"})


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.9", "", "localhost", "::2"])
def test_others_are_not(peer: str) -> None:
    assert not is_direct_loopback(peer, {})


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host"])
def test_what_a_proxy_on_this_machine_passed_on_is_not_either(header: str) -> None:
    assert not is_direct_loopback("127.0.0.1", {header: "127.0.0.1"})

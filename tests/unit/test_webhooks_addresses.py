"""The addresses that may receive webhooks."""

from ipaddress import ip_address

import pytest

from nomadcrew.core.webhooks.addresses import check_url, may_receive, parse_networks
from nomadcrew.core.webhooks.model import UrlRefused

# One of each range that leads into a machine, a network or a cloud.
INTERNAL = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:93.184.216.34"]


@pytest.mark.parametrize("text", INTERNAL)
def test_an_internal_address_receives_nothing(text: str) -> None:
    for scheme in ("http", "https"):
        assert not may_receive(ip_address(text), scheme, ())


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_receives_over_https_only(text: str) -> None:
    assert may_receive(ip_address(text), "https", ())
    assert not may_receive(ip_address(text), "http", ())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_network_of_the_operator_receives_over_both(scheme: str) -> None:
    networks = parse_networks(["10.0.0.0/8", "fd00::/8"])
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        assert may_receive(ip_address(text), scheme, networks)
    assert not may_receive(ip_address("127.0.0.1"), scheme, networks)


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.org", "ftp://hooks.example.org/", "http://hooks.example.org/", "https://",
        "https://user:secret@hooks.example.org/", "https://hooks.example.org/#part", "https://127.0.0.1/",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest/meta-data",
        "https://hooks.example.org:0/", "https://hooks.example.org:99999/", "https://[::1", "https://a b.example/",
        "https://hooks.example.org\\@127.0.0.1/", "https://hooks.example.org/\n", "https://hööks.example.org/",
        "https://hooks.example.org/" + "x" * 1000,
    ],
)  # fmt: skip
def test_a_url_that_may_not_receive_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, ())


@pytest.mark.parametrize(
    "url", ["https://hooks.example.org", "https://hooks.example.org:8443/a?b=c", "https://1.1.1.1/"]
)
def test_a_url_of_a_public_server_is_accepted(url: str) -> None:
    check_url(url, ())


def test_a_url_in_a_network_of_the_operator_is_accepted() -> None:
    for url in ("http://10.0.0.1/", "http://hooks.lan/", "https://10.0.0.1/"):
        check_url(url, ("10.0.0.0/8",))
    with pytest.raises(UrlRefused):
        check_url("http://127.0.0.1/", ("10.0.0.0/8",))

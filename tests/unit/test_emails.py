"""Addresses: valid by RFC 5321, 5322, 6531 and IDNA; one form to show."""

import pytest

from nomadcrew.core.emails import parse_email, parse_own_email
from nomadcrew.core.errors import Invalid
from nomadcrew.core.text import email_key

LONG = "a" * 64


@pytest.mark.parametrize(("text", "shown"), [
    ("o'brien@example.com", "o'brien@example.com"), ("Ana@Example.ORG", "ana@example.org"),
    (" ana@example.org ", "ana@example.org"), ("zoe\u0308@example.com", "zo\u00eb@example.com"),
    ("b@m\u00fcnchen.de", "b@m\u00fcnchen.de"), ("b@xn--mnchen-3ya.de", "b@m\u00fcnchen.de"),
    ("пётр@почта.рф", "пётр@почта.рф"), ("a+b!#$%&'*/=?^_`{|}~-@x.de", "a+b!#$%&'*/=?^_`{|}~-@x.de"),
    ("ana@nas.local", "ana@nas.local"), ("u-1@people.invalid", "u-1@people.invalid"),
    (f"{LONG}@x.de", f"{LONG}@x.de"), ("\u200bana@example.org\u200b", "ana@example.org"),
])  # fmt: skip
def test_valid_addresses_are_shown_in_one_form(text: str, shown: str) -> None:
    assert parse_email(text) == shown
    assert parse_email(shown) == shown
    assert email_key(text) == email_key(shown)


@pytest.mark.parametrize("text", [
    "", "ana", "@example.org", "ana@", "ana@localhost", "a..b@x.de", ".a@x.de", "a.@x.de", "a@-x.de", "a@x_y.de",
    "a@x..de", "a b@x.de", "a@x.de\r\nBcc: b@x.de", "a\u200bb@x.de", "a\u202eb@x.de", '"a b"@x.de', "a@[127.0.0.1]",
    "Ana <ana@x.de>", "a@b@x.de", "a,b@x.de", "a@xn--a.de", f"{LONG}a@x.de",
    f"a@{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 60}.de", f"a@{'x' * 64}.de",
    "=?utf-8?q?a=0D=0AX=3A_1?=@x.de", "a@☕.com", "a\\@x.de", "(a)b@x.de",
    "a@x.de.",
])  # fmt: skip
def test_texts_that_are_no_address_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="Not a valid email address"):
        parse_email(text)


@pytest.mark.parametrize("text", ["u-1@people.invalid", "U-1@PEOPLE.invalid", "u-1@ｐeople。invalid"])
def test_no_user_owns_an_address_that_stands_for_a_user(text: str) -> None:
    assert parse_email(text) == "u-1@people.invalid"
    with pytest.raises(Invalid, match="Not a valid email address"):
        parse_own_email(text)


def test_any_other_address_may_be_owned() -> None:
    assert parse_own_email("Ana@People.invalid.example") == "ana@people.invalid.example"

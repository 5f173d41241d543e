"""Keys of texts: equal for the same text, also where Python and PostgreSQL fold case differently."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nomadcrew
from nomadcrew.core.errors import Invalid
from nomadcrew.core.text import (
    ascii_domain,
    check_label,
    comparison_key,
    composed,
    email_key,
    is_identifier,
    is_visible,
    search_key,
    turns_direction,
)

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
RAINBOW = "\U0001f3f3\ufe0f\u200d\U0001f308"
ASTRONAUT = "\U0001f469\U0001f3fd\u200d\U0001f680"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
PERSIAN = "علی\u200cرضا"
MALAYALAM = "ന്\u200d"
BENGALI = "র\u200d্য"
SOURCE = Path(nomadcrew.__file__).parent


@pytest.mark.parametrize(("one", "other"), [
    ("zo\u00eb", "zoe\u0308"), ("ΝΙΚΟΣ", "νικος"), ("STRASSE", "straße"), ("Ana", " ana\u200b"), ("ǰ", "J\u030c"),
    ("\ufeffana", "ANA"), ("a\u00adna", "ana"), ("\u2764\ufe0f", "\u2764"), (PERSIAN, "علیرضا"),
    ("\u1e9b\u0323", "\u017f\u0323\u0307"), ("\u212b", "\u00e5"), ("\u0345α", "\u0345Α"),
])  # fmt: skip
def test_spellings_of_one_text_have_one_key(one: str, other: str) -> None:
    assert comparison_key(one) == comparison_key(other)


@pytest.mark.parametrize(("one", "other"), [
    ("zoe", "zoë"), ("ana", "anna"), (ENGLAND, SCOTLAND), ("น้ำ", "นา"), ("か", "が"), ("²", "2"),
])  # fmt: skip
def test_different_texts_have_different_keys(one: str, other: str) -> None:
    assert comparison_key(one) != comparison_key(other)


@given(st.text())
def test_a_key_is_its_own_key_and_that_of_every_composition(text: str) -> None:
    key = comparison_key(text)
    assert comparison_key(key) == key
    for form in ("NFC", "NFD"):
        assert comparison_key(unicodedata.normalize(form, text)) == key


@pytest.mark.parametrize(("query", "text"), [
    ("cafe", "CAFÉ"), ("Café", "cafe\u0301"), ("lodz", "Łódź"), ("istanbul", "İstanbul"), ("isik", "Işık"),
    ("tromso", "Tromsø"), ("strasse", "Straße"), ("αθηνα", "Αθήνα"), ("full", "ｆｕｌｌ"), ("елка", "ёлка"),
    ("שלום", "שָׁלוֹם"), ("محمد", "مُحَمَّد"), ("aerø", "ÆRØ"),
])  # fmt: skip
def test_a_search_ignores_accents_and_case(query: str, text: str) -> None:
    assert search_key(query) in search_key(text)


@pytest.mark.parametrize(("query", "text"), [("นา", "น้ำ"), ("か", "が"), ("कल", "कील"), ("oslo", "Öslx")])
def test_a_search_keeps_the_marks_that_are_letters(query: str, text: str) -> None:
    assert search_key(query) not in search_key(text)


@given(st.text())
def test_a_search_finds_a_text_by_the_text_itself(text: str) -> None:
    assert search_key(unicodedata.normalize("NFD", text)) == search_key(unicodedata.normalize("NFC", text))
    assert search_key(search_key(text)) == search_key(text)


@pytest.mark.parametrize(("one", "other"), [
    ("b@münchen.de", "b@xn--mnchen-3ya.de"), ("B@MÜNCHEN.DE", "b@mu\u0308nchen.de"),
    ("Zo\u00eb@x.de", "zoe\u0308@X.de"),
    ("a@straße.de", "a@xn--strae-oqa.de"), ("a@例え。jp", "a@xn--r8jz45g.jp"), (" a@x.de\u200b", "a@x.de"),
])  # fmt: skip
def test_spellings_of_one_mailbox_have_one_key(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


def test_the_key_of_an_address_has_an_ascii_domain() -> None:
    assert email_key("Ο'Μπράιαν@ΠΑΡΆΔΕΙΓΜΑ.gr") == "ο'μπράιαν@xn--hxajbheg2az3al.gr"
    assert ascii_domain("☃é..nowhere") == "☃é..nowhere"


@pytest.mark.parametrize("text", [
    "ana", "a+b", "น้ำฝน", "zoë", FAMILY, RAINBOW, ASTRONAUT, ENGLAND, PERSIAN, MALAYALAM, BENGALI, "क्\u200dष",
    "1\ufe0f\u20e3", "\u2764\ufe0f", "葛\U000e0100", "ᠠ\u180b", "o'brien", "José", "\U0001faea", "क्\u200c",
])  # fmt: skip
def test_identifiers_keep_what_their_script_needs(text: str) -> None:
    assert composed(text) == unicodedata.normalize("NFC", text)
    assert is_identifier(composed(text))


@pytest.mark.parametrize("text", [
    "", "a b", "a\u200bna", "ad\u200dmin", "ad\u200cmin", "a\u202eb", "a\u2066b", "an\u00ada", "a\u3164b",
    "a\u2800b", "\u3164", "\u2800", "\ufe0f", "\u0301", "a\ue000b", "a\ufffe", "a\x07b", "\u00a0", "ab\U000e0061c",
    "a\u034fb", "a\ufe0fb", "\u200d\u0d28", "a\nb", "a\u2028b", "\U0001f3f4\U000e0067x", "\ud800a",
    "ز\u200dر", "a\u180bb",
])  # fmt: skip
def test_identifiers_have_no_hidden_character(text: str) -> None:
    assert not is_identifier(text)


@pytest.mark.parametrize(("text", "expected"), [
    (" ana ", "ana"), ("\u200bana\ufeff", "ana"), ("\u202aana\u202c", "ana"), ("ana\u200d", "ana"),
    ("ana\ufe0f", "ana"),
    ("\u3164\u3164", ""), ("zoe\u0308\u2060", "zoë"), (f" {ENGLAND}\u200b", ENGLAND), (ENGLAND[:-1], "\U0001f3f4"),
    ("\u200d", ""), ("Ana\x00", "Ana\x00"),
])  # fmt: skip
def test_invisible_characters_at_the_ends_are_trimmed(text: str, expected: str) -> None:
    assert composed(text) == expected


@pytest.mark.parametrize("text", [
    "", " ", "\u3164", "\u2800", "\ufe0f", "\u200b", "\u202e", "\u0301", "\ufffc", "\u115f\u1160", "\uffa0", "\x01",
    "\U0001d159", "\U00013441", "\u3000", "\u00ad", "\U000e0041", "\uffff", "\U0010ffff",
])  # fmt: skip
def test_texts_that_show_nothing_are_not_visible(text: str) -> None:
    assert not is_visible(text)
    with pytest.raises(Invalid, match="visible") if text.strip() else pytest.raises(AssertionError):
        check_label("name", text)
        raise AssertionError


@pytest.mark.parametrize("text", ["a", ".", "\u3164a", FAMILY, "\U0001faea", "\ue000", "น"])
def test_texts_that_show_something_are_visible(text: str) -> None:
    assert is_visible(text)
    check_label("name", text)


@pytest.mark.parametrize("text", [
    "a\u202eb", "a\u202db", "\u202ba", "\u2066a", "a\u2067b\u2066\u2069", "a\u202c", "a\u2069", "\u2066a\u202c",
])  # fmt: skip
def test_labels_do_not_turn_the_text_around_them(text: str) -> None:
    assert turns_direction(text)
    with pytest.raises(Invalid, match="direction"):
        check_label("name", text)


@pytest.mark.parametrize("text", ["\u202a+49 30 1234\u202c", "שלום\u200f!", "\u2067מלון\u2069 Ana", "ana", "née"])
def test_closed_isolates_and_marks_are_harmless(text: str) -> None:
    assert not turns_direction(text)
    check_label("name", text)


# Texts that are no users' texts: parts of protocols, settings and our own constants.
FOLDS_PROTOCOLS = {
    "adapters/aws/cognito/accounts.py", "adapters/aws/cognito/user_pool.py", "adapters/aws/sdk/client.py",
    "adapters/aws/sdk/signing.py", "adapters/aws/timestream.py", "adapters/machine/rate_limits.py",
    "adapters/private_addresses.py",
    "api/mail/messages.py", "api/pages/html.py", "core/auth/totp.py", "core/users/preferences.py",
    "cli/demo.py", "cli/up.py", "core/documents/metadata.py", "core/documents/service.py",
    "core/files/names.py", "core/notifications/texts.py", "core/pictures/service.py",
    "hosts/aws/authorizer_event.py", "hosts/aws/functions/cognito_triggers.py", "hosts/aws/http_event.py",
    "hosts/aws/websocket_event.py",
    "hosts/machine/http/client_address.py", "hosts/machine/http/cors.py", "hosts/machine/http/metrics.py",
    "hosts/machine/http/protocol.py",
    "settings.py", "web/call.py", "web/decode.py",
    "web/dispatch.py", "web/forms.py", "web/multipart.py", "web/openapi.py", "web/picture_form.py",
    "web/reasons.py", "web/upload.py",
}  # fmt: skip
FOLDS_TEXTS = {"core/text.py", "core/emails.py"}


def test_only_the_core_folds_the_case_of_texts() -> None:
    folding = re.compile(r"\.lower\(\)|casefold\(|\.swapcase\(|re\.IGNORECASE")
    found = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if folding.search(path.read_text())
    }
    assert found <= FOLDS_PROTOCOLS | FOLDS_TEXTS
    assert found >= FOLDS_TEXTS


def test_sql_folds_no_case() -> None:
    folding = re.compile(r"\blower\(|\bupper\(|\bILIKE\b|~\*|\bunaccent\(|\bcitext\b", re.IGNORECASE)
    statements = list((SOURCE / "adapters/postgres/statements").glob("*.sql"))
    assert len(statements) > 10
    assert [path.name for path in statements if folding.search(path.read_text())] == []

"""Time-based one-time passwords, compared with the test values of RFC 6238, and recovery codes."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from nomadcrew.adapters.jwt.secrets import mfa_token, read_mfa_token
from nomadcrew.core.auth import totp
from nomadcrew.core.auth.errors import InvalidMfaToken
from tests.fakes import ANA, NOON

SECRET = b"12345678901234567890"
SITE_SECRET = b"s" * 32
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert totp.code_at(SECRET, totp.step_at(moment)) == code
    assert totp.step_of(SECRET, code, moment) == totp.step_at(moment)


def test_a_code_is_accepted_one_step_early_and_late() -> None:
    step = totp.step_at(NOON)
    for drift in (-1, 0, 1):
        assert totp.step_of(SECRET, totp.code_at(SECRET, step + drift), NOON) == step + drift
    for drift in (-2, 2):
        assert totp.step_of(SECRET, totp.code_at(SECRET, step + drift), NOON) is None
    assert totp.step_of(SECRET, "١٢٣٤٥٦", NOON) is None


def test_the_uri_names_the_site_and_the_account() -> None:
    uri = urlsplit(totp.key_uri(SECRET, issuer="NomadCrew trips.example.org", account="ana b"))
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/NomadCrew%20trips.example.org:ana%20b")
    assert parse_qs(uri.query) == {
        "secret": ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"],
        "issuer": ["NomadCrew trips.example.org"],
    }


def test_a_recovery_code_may_be_typed_in_any_case_and_without_hyphens() -> None:
    code = totp.recovery_code(bytes(range(totp.RECOVERY_BYTES)))
    assert code == "aaaq-eaye-auda-ocaj"
    assert totp.recovery_hash(code) == totp.recovery_hash(" AAAQ eaye-AUDAOCAJ")
    assert totp.recovery_hash(code) != totp.recovery_hash(code[:-1])


def test_the_token_of_an_interrupted_sign_in_names_its_user_until_it_expires() -> None:
    token = mfa_token(SITE_SECRET, ANA, NOON + 5 * MINUTE)
    assert read_mfa_token([b"x" * 32, SITE_SECRET], token, NOON + 4 * MINUTE) == ANA
    for secret, text, now in (
        (SITE_SECRET, token, NOON + 5 * MINUTE),
        (b"x" * 32, token, NOON),
        (SITE_SECRET, token[:-1], NOON),
        (SITE_SECRET, "é", NOON),
    ):
        with pytest.raises(InvalidMfaToken):
            read_mfa_token([secret], text, now)

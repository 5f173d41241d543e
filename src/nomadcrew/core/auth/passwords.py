"""The password policy: lengths and character classes of the source document, and no common passwords."""

import re
import unicodedata
from functools import cache
from pathlib import Path

from nomadcrew.core.auth.errors import WeakPassword
from nomadcrew.core.text import comparison_key

MIN_PASSWORD = 8
MAX_PASSWORD = 128
# Shorter names occur in strong passwords by chance: "ana" is in "banana".
MIN_PERSONAL = 4

# `importlib.resources` would add six milliseconds to a function's cold start.
_FILE = Path(__file__).with_name("common_passwords.txt")
_TAIL = re.compile(r"[\W\d_]+$")
_LOOKALIKES = str.maketrans("@4301!5$7", "aaeolisst")


def check_password(password: str, *, email: str, username: str | None) -> None:
    """Check a new password.

    Raises:
        WeakPassword: the text lists all problems and never repeats the password.
    """
    problems = [*_missing(password), *_guessable(password, email, username)]
    if problems:
        raise WeakPassword(f"The password {_listed(problems)}.")


def canonical(password: str) -> str:
    """The password in NFKC, the same for keyboards that compose characters differently."""
    return unicodedata.normalize("NFKC", password)


def _missing(password: str) -> list[str]:
    rules = (
        (len(password) >= MIN_PASSWORD, f"needs at least {MIN_PASSWORD} characters"),
        (len(password) <= MAX_PASSWORD, f"has more than {MAX_PASSWORD} characters"),
        (any(c.islower() for c in password), "needs a lower-case letter"),
        (any(c.isupper() for c in password), "needs an upper-case letter"),
        (any(c.isdigit() for c in password), "needs a digit"),
        (any(not c.isalnum() and not c.isspace() for c in password), "needs a symbol"),
    )
    return [problem for is_met, problem in rules if not is_met]


def _guessable(password: str, email: str, username: str | None) -> list[str]:
    folded = comparison_key(canonical(password))
    problems = []
    if _is_common(folded):
        problems.append("is too common")
    local = comparison_key(email.partition("@")[0])
    if len(local) >= MIN_PERSONAL and local in folded:
        problems.append("must not contain your email address")
    name = comparison_key(username or "")
    if len(name) >= MIN_PERSONAL and name in folded:
        problems.append("must not contain your username")
    return problems


def _is_common(folded: str) -> bool:
    """True if the password is common, also without its trailing digits and symbols, or without lookalikes."""
    stripped = _TAIL.sub("", folded)
    forms = {folded, stripped, folded.translate(_LOOKALIKES), stripped.translate(_LOOKALIKES)}
    return not forms.isdisjoint(_common())


@cache
def _common() -> frozenset[str]:
    text = _FILE.read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _listed(problems: list[str]) -> str:
    *first, last = problems
    return f"{', '.join(first)} and {last}" if first else last

"""Settings: environment variables, each read once, checked at the start, explained in one place."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from nomadcrew.core.errors import BadSetting

PREFIX = "NOMADCREW_"
AWS_PREFIX = "NOMADCREW_AWS_"  # variables of the other host, which this one ignores
# What means nothing without the address it is for.
OF_AN_ADDRESS = {
    "supabase_anon_key": "supabase_url",
    "supabase_jwt_secret": "supabase_url",
    "supabase_service_key": "supabase_url",
    "expo_token": "expo_url",
}
# Each has connections of its own, and the database takes forty.
MAX_WORKERS = 15


def _split(text: str) -> SplitResult | None:
    """The parts of an address with a host; None if it is no such thing."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # which is looked at only here
    except ValueError:
        return None
    return parts if parts.hostname and not re.search(r"\s", text) else None


def _url(text: str) -> str:
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError("is not an http(s) address, such as https://trips.example.org")
    return text.rstrip("/")


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError("is not a port, which is a number from 0 to 65535 (0 picks a free one)")
    return int(text)


def _workers(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"is not a number from 1 to {MAX_WORKERS}")
    return int(text)


def _choice(*options: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in options:
            raise ValueError(f"is not one of {', '.join(options)}")
        return text.lower()

    return parse


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("has fewer than 32 characters, too few for a secret")
    return text


def _secrets(text: str) -> tuple[str, ...]:
    return tuple(_secret(part) for part in _list(text))


def _mail_url(text: str) -> str:
    parts = _split(text)
    if parts is None or parts.scheme not in ("smtp", "smtp+starttls", "smtps"):
        raise ValueError("is not a mail server, such as smtp+starttls://user:password@mail.example.org:587")
    return text


def _mail_from(text: str) -> str:
    address = r"[^@\s<>]+@[^@\s<>]+"
    if not re.fullmatch(rf"[^\r\n<>]*<{address}>|{address}", text):
        raise ValueError("is not a sender, such as NomadCrew <trips@example.org>")
    return text


def setting(variable: str, default: Any, help_: str, parse: Callable[[str], Any] = str) -> Any:
    """A field read from `variable`; `default` where it is unset or empty."""
    return field(default=default, metadata={"variable": variable, "help": help_, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one machine runs NomadCrew."""

    host: str = setting(
        "HOST",
        "127.0.0.1",
        "Address to listen on; `0.0.0.0` for every interface.",
    )
    port: int = setting(
        "PORT",
        8080,
        "Port to listen on; `0` picks a free one.",
        _port,
    )
    workers: int = setting(
        "NOMADCREW_WORKERS",
        1,
        "Processes that answer requests and hold sockets; more than 1 where there are more cores.",
        _workers,
    )
    home: Path = setting(
        "NOMADCREW_HOME", Path(".nomadcrew"), "Folder that holds everything: database, keys, files, mails.", Path
    )
    public_url: str | None = setting(
        "NOMADCREW_PUBLIC_URL", None, "Where people reach the server, for links. Unset: where it listens.", _url
    )
    app_url: str | None = setting(
        "NOMADCREW_APP_URL",
        None,
        "The app's own host, for invitation links. Unset: the public address, whose page accepts invitations.",
        _url,
    )
    registration: str = setting(
        "NOMADCREW_REGISTRATION", "open", "`closed`: only invited people can register.", _choice("open", "closed")
    )
    smtp_url: str | None = setting(
        "NOMADCREW_SMTP_URL",
        None,
        "Mail server, `smtp://`, `smtp+starttls://` or `smtps://`. Unset: mails become files in `mail/`.",
        _mail_url,
    )
    mail_from: str = setting(
        "NOMADCREW_MAIL_FROM", "NomadCrew <nomadcrew@localhost>", "Sender of mails.", _mail_from
    )
    expo_url: str | None = setting(
        "NOMADCREW_EXPO_URL",
        None,
        "Expo's push service, `https://exp.host/--/api/v2/push`. Unset: nothing is pushed anywhere.",
        _url,
    )
    expo_token: str | None = setting(
        "NOMADCREW_EXPO_TOKEN", None, "Expo access token, where the project asks for one."
    )
    allowed_origins: tuple[str, ...] = setting(
        "NOMADCREW_ALLOWED_ORIGINS",
        ("*",),
        "Web pages that may call the API, comma-separated; `https://*.example.org` stands for subdomains.",
        _list,
    )
    trusted_proxies: tuple[str, ...] = setting(
        "NOMADCREW_TRUSTED_PROXIES",
        (),
        "Addresses or networks of reverse proxies whose `X-Forwarded-For` is believed.",
        _list,
    )
    rate_limits: str = setting(
        "NOMADCREW_RATE_LIMITS",
        "",
        "Limits that differ, as `sign_in=20/60,default=1000/60`, or `off` for load tests.",
    )
    metrics_token: str | None = setting(
        "NOMADCREW_METRICS_TOKEN", None, "Bearer token that opens `/metrics` beyond this machine.", _secret
    )
    postgres_bin: Path | None = setting(
        "NOMADCREW_POSTGRES_BIN",
        None,
        "Folder with PostgreSQL's programs. Unset: those installed with NomadCrew, else `pg_config`'s.",
        Path,
    )
    postgres_user: str | None = setting(
        "NOMADCREW_POSTGRES_USER",
        None,
        "System user that runs PostgreSQL when NomadCrew runs as root. Unset: `nobody`.",
    )
    supabase_url: str | None = setting(
        "NOMADCREW_SUPABASE_URL", None, "Supabase project whose users may sign in beside ours.", _url
    )
    supabase_anon_key: str | None = setting(
        "NOMADCREW_SUPABASE_ANON_KEY", None, "That project's public key, sent when its signing keys are fetched."
    )
    supabase_jwt_secret: str | None = setting(
        "NOMADCREW_SUPABASE_JWT_SECRET",
        None,
        "That project's HS256 secret, where its tokens are signed with one.",
        _secret,
    )
    supabase_service_key: str | None = setting(
        "NOMADCREW_SUPABASE_SERVICE_KEY",
        None,
        "That project's service key: people, trips and positions are copied there. Unset: nothing is.",
        _secret,
    )
    invitation_secrets: tuple[str, ...] = setting(
        "NOMADCREW_INVITATION_SECRETS",
        (),
        "Older secrets whose invitation links are still honoured, comma-separated.",
        _secrets,
    )
    log_level: str = setting(
        "LOG_LEVEL", "info", "Least serious lines to log.", _choice("debug", "info", "warning", "error")
    )

    @property
    def mirrors(self) -> bool:
        """Whether a copy is kept in a Supabase project."""
        return self.supabase_url is not None and self.supabase_service_key is not None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Settings from environment variables.

        Raises:
            BadSetting: a value cannot be used, or is for an address that is unset, or a variable is misspelled.
        """
        known = {f.metadata["variable"]: f for f in fields(cls)}
        for name in environment:
            if name.startswith(PREFIX) and name not in known and not name.startswith(AWS_PREFIX):
                raise BadSetting(f"{name} is no setting; {_instead_of(name, known)}")
        values = {}
        for name, f in known.items():
            text = environment.get(name, "")
            if text.strip():
                values[f.name] = _parsed(name, f.metadata["parse"], text.strip())
        variables = {f.name: name for name, f in known.items()}
        for name, address in OF_AN_ADDRESS.items():
            if name in values and address not in values:
                raise BadSetting(f"{variables[name]} does nothing without {variables[address]}: set both or none.")
        return cls(**values)


def _instead_of(name: str, known: Iterable[str]) -> str:
    """What to say to a misspelled name. All begin alike, so only the rest can tell them apart."""
    import difflib

    by_rest = {variable.removeprefix(PREFIX): variable for variable in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), by_rest, n=1)
    return f"did you mean {by_rest[close[0]]}?" if close else "docs/operating.md lists the settings."


def _parsed(name: str, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        # A secret or a password may be in the text, so it is not repeated.
        raise BadSetting(f"{name} {error}.") from None


def as_table() -> str:
    """The settings as the table in docs/operating.md."""
    rows = ["| variable | default | what it does |", "|---|---|---|"]
    for f in fields(Settings):
        default = ", ".join(f.default) if isinstance(f.default, tuple) else f.default
        shown = f"`{default}`" if default not in (None, "") else "–"
        rows.append(f"| `{f.metadata['variable']}` | {shown} | {f.metadata['help']} |")
    return "\n".join(rows) + "\n"

"""Settings: environment variables, read once, validated at the start, documented in one place."""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from nomadcrew.core.errors import BadSetting

PREFIX = "NOMADCREW_"
# As container platforms mount secrets.
FILE_SUFFIX = "_FILE"
MAX_FILE_CHARS = 65_536
AWS_PREFIX = "NOMADCREW_AWS_"  # variables of the other host, which this one ignores
# Settings that have no effect unless the other one is set.
REQUIRED = {
    "backup_every": "backup_folder",
    "backup_keep": "backup_folder",
    "supabase_anon_key": "supabase_url",
    "supabase_jwt_secret": "supabase_url",
    "supabase_service_key": "supabase_url",
    "expo_token": "expo_url",
}
# Each worker has its own connections, and the database accepts forty.
MAX_WORKERS = 15
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
AUTO = "auto"
OFF = "off"
PEXELS = "https://api.pexels.com/v1/search"
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
APPLE_KEYS = "https://appleid.apple.com/auth/keys"
OPEN_METEO = "https://api.open-meteo.com/v1/forecast"


def _split(text: str) -> SplitResult | None:
    """The parts of a URL that has a host; None for any other text."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for a bad port; `urlsplit` does not check it
    except ValueError:
        return None
    return parts if parts.hostname and not re.search(r"\s", text) else None


def _url(text: str) -> str:
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError("must be an http(s) URL, such as https://trips.example.org")
    return text.rstrip("/")


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError("must be a port from 0 to 65535 (0 picks a free one)")
    return int(text)


def _workers(text: str) -> int | None:
    if text.lower() == AUTO:
        return None
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"must be a number from 1 to {MAX_WORKERS}, or {AUTO}")
    return int(text)


def _weather_url(text: str) -> str | None:
    return None if text.lower() == OFF else _url(text)


def _period(text: str) -> str:
    amount, unit = text[:-1], text[-1:]
    if not re.fullmatch(r"[0-9]{1,4}", amount) or int(amount) < 1 or unit not in _UNITS:
        raise ValueError("must be a period such as 30m, 12h or 7d")
    return text


def _backups(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < 1:
        raise ValueError("must be a number from 1 to 9999")
    return int(text)


def _connections(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise ValueError("must be a number from 1 to 999999")
    return int(text)


def _choice(*options: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return text.lower()

    return parse


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(part)) for part in _list(text))
    except ValueError:
        raise ValueError("must be networks such as 10.0.0.0/8, fd00::/8") from None


def _secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("must have at least 32 characters")
    return text


def _secrets(text: str) -> tuple[str, ...]:
    return tuple(_secret(part) for part in _list(text))


def _mail_url(text: str) -> str:
    parts = _split(text)
    if parts is None or parts.scheme not in ("smtp", "smtp+starttls", "smtps"):
        raise ValueError(
            "must be the URL of a mail server, such as smtp+starttls://user:password@mail.example.org:587"
        )
    return text


def _mail_from(text: str) -> str:
    address = r"[^@\s<>]+@[^@\s<>]+"
    if not re.fullmatch(rf"[^\r\n<>]*<{address}>|{address}", text):
        raise ValueError("must be a sender, such as NomadCrew <trips@example.org>")
    return text


def setting(variable: str, default: Any, help_: str, parse: Callable[[str], Any] = str) -> Any:
    """A field read from `variable`; `default` if the variable is unset or empty."""
    return field(default=default, metadata={"variable": variable, "help": help_, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the machine host."""

    host: str = setting(
        "HOST",
        "127.0.0.1",
        "Address to listen on; `0.0.0.0` for all interfaces.",
    )
    port: int = setting(
        "PORT",
        8080,
        "Port to listen on; `0` picks a free one.",
        _port,
    )
    workers: int | None = setting(
        "NOMADCREW_WORKERS",
        None,
        "Number of processes that answer requests and hold sockets. Unset or `auto`: one for two CPU cores.",
        _workers,
    )
    home: Path = setting("NOMADCREW_HOME", Path(".nomadcrew"), "Data folder: database, keys, files, mails.", Path)
    public_url: str | None = setting(
        "NOMADCREW_PUBLIC_URL", None, "Public URL of the server, used in links. Unset: the listening address.", _url
    )
    app_url: str | None = setting(
        "NOMADCREW_APP_URL",
        None,
        "URL of the app, used in invitation links. Unset: the public URL, which has a page to accept invitations.",
        _url,
    )
    registration: str = setting(
        "NOMADCREW_REGISTRATION", "open", "`closed`: only invited users can register.", _choice("open", "closed")
    )
    trip_status: str = setting(
        "NOMADCREW_TRIP_STATUS",
        "manual",
        "`auto`: a trip starts on its first day and is completed after its last, by the time of its destination. "
        "`manual`: members change its status.",
        _choice("manual", AUTO),
    )
    smtp_url: str | None = setting(
        "NOMADCREW_SMTP_URL",
        None,
        "Mail server: `smtp://`, `smtp+starttls://` or `smtps://`. Unset: mails are written to files in `mail/`.",
        _mail_url,
    )
    mail_from: str = setting(
        "NOMADCREW_MAIL_FROM", "NomadCrew <nomadcrew@localhost>", "Sender of mails.", _mail_from
    )
    expo_url: str | None = setting(
        "NOMADCREW_EXPO_URL",
        None,
        "Expo's push service, `https://exp.host/--/api/v2/push`. Unset: no pushes are sent.",
        _url,
    )
    expo_token: str | None = setting(
        "NOMADCREW_EXPO_TOKEN", None, "Expo access token, if the Expo project requires one."
    )
    weather_url: str | None = setting(
        "NOMADCREW_WEATHER_URL",
        OPEN_METEO,
        "Weather service with the API of Open-Meteo; it receives coordinates of destinations, to a kilometre. "
        "`off`: no weather.",
        _weather_url,
    )
    places: str = setting(
        "NOMADCREW_PLACES",
        "offline",
        "`offline`: destinations are suggested from a list of towns in the database. `off`: no suggestions.",
        _choice("offline", OFF),
    )
    pexels_api_key: str | None = setting(
        "NOMADCREW_PEXELS_API_KEY",
        None,
        "Key of Pexels, which then receives the destinations of new trips and finds their pictures. Unset: none.",
    )
    pexels_url: str = setting(
        "NOMADCREW_PEXELS_URL", PEXELS, "Service with the API of Pexels, used with its key.", _url
    )
    allowed_origins: tuple[str, ...] = setting(
        "NOMADCREW_ALLOWED_ORIGINS",
        ("*",),
        "Origins of web pages that may call the API, comma-separated; `https://*.example.org` allows subdomains.",
        _list,
    )
    trusted_proxies: tuple[str, ...] = setting(
        "NOMADCREW_TRUSTED_PROXIES",
        (),
        "Addresses or networks of trusted reverse proxies; their `X-Forwarded-For` is used.",
        _list,
    )
    connections_per_address: int = setting(
        "NOMADCREW_CONNECTIONS_PER_ADDRESS",
        500,
        "Most connections of one address at a time, in each process; an address may be that of a whole hotel.",
        _connections,
    )
    rate_limits: str = setting(
        "NOMADCREW_RATE_LIMITS",
        "",
        "Rate limits to override, such as `sign_in=20/60,default=1000/60`, or `off` for load tests.",
    )
    metrics_token: str | None = setting(
        "NOMADCREW_METRICS_TOKEN",
        None,
        "Bearer token for `/metrics`, which is otherwise open to this machine only.",
        _secret,
    )
    postgres_bin: Path | None = setting(
        "NOMADCREW_POSTGRES_BIN",
        None,
        "Folder of PostgreSQL's programs. Unset: those installed with NomadCrew, else those of `pg_config`.",
        Path,
    )
    postgres_user: str | None = setting(
        "NOMADCREW_POSTGRES_USER",
        None,
        "OS user that runs PostgreSQL when NomadCrew runs as root. Unset: `nobody`.",
    )
    passkey_origins: tuple[str, ...] = setting(
        "NOMADCREW_PASSKEY_ORIGINS",
        (),
        "Further origins of passkeys, comma-separated, such as `android:apk-key-hash:…` of the site's app. "
        "Passkeys are for the host of the public URL.",
        _list,
    )
    google_client_ids: tuple[str, ...] = setting(
        "NOMADCREW_GOOGLE_CLIENT_IDS",
        (),
        "OAuth client ids of this site's apps at Google, comma-separated: their users may sign in with Google.",
        _list,
    )
    google_keys_url: str = setting(
        "NOMADCREW_GOOGLE_KEYS_URL", GOOGLE_KEYS, "The published keys of Google's ID tokens.", _url
    )
    apple_client_ids: tuple[str, ...] = setting(
        "NOMADCREW_APPLE_CLIENT_IDS",
        (),
        "Bundle and service ids of this site's apps at Apple, comma-separated: their users may sign in with Apple.",
        _list,
    )
    apple_keys_url: str = setting(
        "NOMADCREW_APPLE_KEYS_URL", APPLE_KEYS, "The published keys of Apple's ID tokens.", _url
    )
    webhook_networks: tuple[str, ...] = setting(
        "NOMADCREW_WEBHOOK_NETWORKS",
        (),
        "Networks that webhooks may be sent to besides the internet, also over plain http, such as `10.0.0.0/8`.",
        _networks,
    )
    supabase_url: str | None = setting(
        "NOMADCREW_SUPABASE_URL", None, "URL of a Supabase project whose users may sign in too.", _url
    )
    supabase_anon_key: str | None = setting(
        "NOMADCREW_SUPABASE_ANON_KEY", None, "The project's public key, sent when its signing keys are fetched."
    )
    supabase_jwt_secret: str | None = setting(
        "NOMADCREW_SUPABASE_JWT_SECRET",
        None,
        "The project's HS256 secret, if it signs tokens with one.",
        _secret,
    )
    supabase_service_key: str | None = setting(
        "NOMADCREW_SUPABASE_SERVICE_KEY",
        None,
        "The project's service key; users, trips and positions are copied there. Unset: nothing is copied.",
        _secret,
    )
    invitation_secrets: tuple[str, ...] = setting(
        "NOMADCREW_INVITATION_SECRETS",
        (),
        "Previous invitation secrets, comma-separated; links signed with them stay valid.",
        _secrets,
    )
    backup_folder: Path | None = setting(
        "NOMADCREW_BACKUP_FOLDER",
        None,
        "Folder for backups that the server writes by itself, best on another disk. Unset: none.",
        Path,
    )
    backup_every: str = setting("NOMADCREW_BACKUP_EVERY", "24h", "Period of these backups, such as `12h`.", _period)
    backup_keep: int = setting("NOMADCREW_BACKUP_KEEP", 7, "Number of these backups to keep.", _backups)
    log_level: str = setting(
        "LOG_LEVEL", "info", "Lowest level to log.", _choice("debug", "info", "warning", "error")
    )

    @property
    def backup_period(self) -> timedelta:
        return timedelta(**{_UNITS[self.backup_every[-1]]: int(self.backup_every[:-1])})

    @property
    def mirrors(self) -> bool:
        """True if data is copied to a Supabase project."""
        return self.supabase_url is not None and self.supabase_service_key is not None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Settings from environment variables.

        Raises:
            BadSetting: a value is not valid, lacks the URL it belongs to, is in a file that cannot be read, or a
                variable's name is unknown.
        """
        known = {f.metadata["variable"]: f for f in fields(cls)}
        environment = _with_files(environment, known)
        for name in environment:
            if name.startswith(PREFIX) and name not in known and not name.startswith(AWS_PREFIX):
                raise BadSetting(f"{name} is not a setting; {_suggestion(name, known)}")
        values = {}
        for name, f in known.items():
            text = environment.get(name, "")
            if text.strip():
                values[f.name] = _parse(name, f.metadata["parse"], text.strip())
        variables = {f.name: name for name, f in known.items()}
        for name, other in REQUIRED.items():
            if name in values and other not in values:
                raise BadSetting(f"{variables[name]} has no effect without {variables[other]}: set both or none.")
        return cls(**values)


def _with_files(environment: Mapping[str, str], known: Container[str]) -> Mapping[str, str]:
    """The environment with the values of files: the name of a setting with `_FILE` names the file of its value."""
    values = dict(environment)
    for variable, path in environment.items():
        name = variable.removesuffix(FILE_SUFFIX)
        if name == variable or name not in known or not name.startswith(PREFIX):
            continue
        del values[variable]
        if environment.get(name, "").strip():
            raise BadSetting(f"{name} and {variable} are both set; unset one of them.")
        if path.strip():
            values[name] = _content(variable, Path(path.strip()))
    return values


def _content(variable: str, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_FILE_CHARS)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadSetting(f"{variable} names a file that cannot be read: {reason}.") from None


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The advice for a misspelled name. Names are compared without their common prefix."""
    import difflib

    by_rest = {variable.removeprefix(PREFIX): variable for variable in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), by_rest, n=1)
    return f"did you mean {by_rest[close[0]]}?" if close else "docs/operating.md lists the settings."


def _parse(name: str, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        # The text may contain a secret, so the message does not repeat it.
        raise BadSetting(f"{name} {error}.") from None


def as_table() -> str:
    """The settings as the table in docs/operating.md."""
    rows = ["| variable | default | description |", "|---|---|---|"]
    for f in fields(Settings):
        default = ", ".join(f.default) if isinstance(f.default, tuple) else f.default
        shown = f"`{default}`" if default not in (None, "") else "–"
        rows.append(f"| `{f.metadata['variable']}` | {shown} | {f.metadata['help']} |")
    return "\n".join(rows) + "\n"

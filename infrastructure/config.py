"""All numbers of all stages. `-c stage=…` selects a stage, `-c preset=…` its preset."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nomadcrew.core.flags import REGISTRATION
from nomadcrew.core.rate_limits import LIMITS

# Methods and headers of the web pages and the shipped app; hosts/machine/http/cors.py has the same.
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CORS_HEADERS = (
    "authorization",
    "content-type",
    "accept",
    "idempotency-key",
    "x-csrf-token",
    "x-request-id",
    "x-requested-with",
)
CORS_EXPOSED = ("content-length", "link", "retry-after", "x-request-id")
CORS_MAX_AGE_S = 43_200

# A queue's visibility timeout is six times its function's timeout.
VISIBILITY_FACTOR = 6
DEAD_LETTER_DAYS = 14
ARCHIVE_DAYS = 30
RULE_RETRY_HOURS = 24
ACCESS_TOKEN_MINUTES = 15
MAX_STAGE_NAME = 12
SOCKET_STAGE = "v1"
# The database user of all functions but the migrator.
APPLICATION_USER = "nomadcrew_app"


# Timestream for LiveAnalytics accepts no new accounts; stages of older accounts may use it.
LocationStore = Literal["dynamodb", "aurora", "timestream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Aurora and the functions' access to it."""

    access: Literal["data-api", "proxy"] = "data-api"
    min_acu: float = 0.5
    max_acu: float = 4
    pause_after_s: int | None = None  # requires a minimum of 0 ACU
    reader: bool = False
    backup_days: int = 7
    name: str = "nomadcrew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The expensive settings, chosen together; a stage may override each of them."""

    database: Database
    cache: Literal["dynamodb", "valkey"] = "dynamodb"
    stream: Literal["sqs", "kinesis"] = "sqs"
    location_store: LocationStore = "dynamodb"
    # Amazon Location costs money for each suggestion.
    places: Literal["amazon", "off"] = "amazon"
    # Provisioned and reserved concurrency, by function. A new account has about ten concurrent executions and
    # cannot reserve any of them.
    provisioned: Mapping[str, int] = field(default_factory=dict)
    reserved: Mapping[str, int] = field(default_factory=dict)


# These wait for other services; the rest of the account must not wait with them.
OUTWARD = {"weather": 10, "places": 10}
# Strangers may call the function that authorizes MQTT clients. Five at a time admit a hundred clients per second.
MQTT_CLIENTS = {"iot_authorizer": 5}
PRESETS: Mapping[str, Preset] = {
    "lean": Preset(database=Database(min_acu=0, max_acu=2, pause_after_s=300), places="off"),
    "rec": Preset(
        database=Database(min_acu=0.5, max_acu=8),
        cache="valkey",
        stream="kinesis",
        reserved={**OUTWARD, **MQTT_CLIENTS},
    ),
    "document": Preset(
        database=Database(access="proxy", min_acu=0.5, max_acu=16, reader=True, backup_days=14),
        cache="valkey",
        stream="kinesis",
        provisioned={"trips": 10},
        reserved={"trips": 100, **OUTWARD, **MQTT_CLIENTS},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One complete deployment."""

    name: str
    account: str
    region: str
    preset: str
    database: Database
    cache: Literal["dynamodb", "valkey"]
    stream: Literal["sqs", "kinesis"]
    location_store: LocationStore
    places: Literal["amazon", "off"]
    provisioned: Mapping[str, int]
    reserved: Mapping[str, int]
    mail_domain: str
    mail_sender: str
    # The public URL of the API, for links. None: the API's own address.
    public_url: str | None = None
    app_url: str | None = None
    # The push service, such as https://exp.host/--/api/v2/push. None: no pushes are sent. If it requires an access
    # token, the token is `expo_token` in the secret for pushes.
    expo_url: str | None = None
    # A Supabase project that gets copies of users, trips and positions. None: no copies. Its service key is
    # `supabase_service_key` in the secret for the mirror.
    supabase_url: str | None = None
    # The search for background pictures, with the API of Pexels, such as https://api.pexels.com/v1/search. None: no
    # pictures. Its key is `pexels_api_key` in the secret for it.
    pexels_url: str | None = None
    # Further origins of passkeys between spaces, such as that of the site's app for Android.
    passkey_origins: str | None = None
    # The client ids of the site's apps at Google and Apple, between spaces, whose users may then sign in.
    google_client_ids: str | None = None
    google_keys_url: str = "https://www.googleapis.com/oauth2/v3/certs"
    apple_client_ids: str | None = None
    apple_keys_url: str = "https://appleid.apple.com/auth/keys"
    # Networks that webhooks may be sent to besides the internet, also over plain http, comma-separated.
    webhook_networks: str | None = None
    # The weather service, with the API of Open-Meteo. None: no weather.
    weather_url: str | None = "https://api.open-meteo.com/v1/forecast"
    registration: Literal["open", "closed"] = "open"
    trip_status: Literal["manual", "auto"] = "manual"
    rate_limits: str = ""
    allowed_origins: tuple[str, ...] = ("https://nomadcrew.uk", "https://app.nomadcrew.uk")
    log_level: str = "info"
    log_days: int = 14
    api_rate: int = 500  # requests per second
    api_burst: int = 1_000
    # The share of these for each route without a token, so that strangers cannot use up the rest.
    open_share: float = 0.1
    socket_rate: int = 500
    socket_burst: int = 500
    sms_codes: bool = False  # costs money and needs an origination number; authenticator apps need neither
    flags: Mapping[str, bool] = field(default_factory=lambda: {REGISTRATION: True})
    http_tags: Mapping[str, str] = field(default_factory=dict)
    socket_tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.name) > MAX_STAGE_NAME:
            raise ValueError(f"The stage's name {self.name!r} is too long for the names of its functions.")
        if (self.database.pause_after_s is not None) != (self.database.min_acu == 0):
            raise ValueError("A database pauses if, and only if, its minimum is 0 ACU.")

    def named(self, name: str) -> str:
        """The name of a resource of this stage, unique per account and region."""
        return f"nomadcrew-{self.name}-{name}"

    @property
    def bus_name(self) -> str:
        return "nomadcrew-events" if self.name == "production" else f"nomadcrew-events-{self.name}"

    @property
    def mail_address(self) -> str:
        return f"no-reply@{self.mail_domain}"

    @property
    def mail_from(self) -> str:
        return f"{self.mail_sender} <{self.mail_address}>"


def _stage(name: str, preset: str, account: str, region: str, **numbers: object) -> Stage:
    chosen = PRESETS[preset]
    return Stage(
        name=name,
        account=account,
        region=region,
        preset=preset,
        database=chosen.database,
        cache=chosen.cache,
        stream=chosen.stream,
        location_store=chosen.location_store,
        places=chosen.places,
        provisioned=chosen.provisioned,
        reserved=chosen.reserved,
        **numbers,  # type: ignore[arg-type]
    )


# Fixed API ids, so that the emulator's addresses are known in advance; AWS ignores these tags.
_PINNED_HTTP = {"ms-custom-id": "0000a001"}
_PINNED_SOCKET = {"ms-custom-id": "0000a002"}


def stage_of(
    name: str,
    preset: str | None = None,
    *,
    public_url: str | None = None,
    expo_url: str | None = None,
    supabase_url: str | None = None,
    pexels_url: str | None = None,
    passkey_origins: str | None = None,
    google_client_ids: str | None = None,
    apple_client_ids: str | None = None,
    webhook_networks: str | None = None,
    weather_url: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Stage:
    """The stage with that name, with its own preset or another.

    Raises:
        KeyError: unknown stage or preset, or the account of a real stage is not set.
    """
    options = {
        "public_url": public_url,
        "expo_url": expo_url,
        "supabase_url": supabase_url,
        "pexels_url": pexels_url,
        "passkey_origins": passkey_origins,
        "google_client_ids": google_client_ids,
        "apple_client_ids": apple_client_ids,
        "webhook_networks": webhook_networks,
        "weather_url": weather_url,
    }
    if name == "rehearsal":
        stage = _stage(
            name,
            preset or "lean",
            "000000000000",
            "eu-west-1",
            mail_domain="nomadcrew.test",
            mail_sender="NomadCrew",
            allowed_origins=("https://app.nomadcrew.test",),
            weather_url=None,
            # High enough for tests, but still counted.
            rate_limits=",".join(f"{bucket}=100000/60" for bucket in LIMITS if bucket != "failed_sign_in"),
            http_tags=_PINNED_HTTP,
            socket_tags=_PINNED_SOCKET,
        )
        # Kinesis is free in the emulator; the other consumers use queues in any case.
        stage = replace(stage, stream="kinesis")
        return _with_options(stage, **options)
    account = environment["CDK_DEFAULT_ACCOUNT"]
    region = environment.get("CDK_DEFAULT_REGION", "eu-west-1")
    stage = {
        "dev": lambda: _stage(
            "dev",
            preset or "lean",
            account,
            region,
            mail_domain="dev.nomadcrew.uk",
            mail_sender="NomadCrew (dev)",
            allowed_origins=("https://dev.nomadcrew.uk", "http://localhost:8081"),
            log_level="debug",
            api_rate=50,
            api_burst=100,
        ),
        "staging": lambda: _stage(
            "staging",
            preset or "rec",
            account,
            region,
            mail_domain="staging.nomadcrew.uk",
            mail_sender="NomadCrew (staging)",
            allowed_origins=("https://staging.nomadcrew.uk",),
        ),
        "production": lambda: _stage(
            "production",
            preset or "rec",
            account,
            region,
            mail_domain="nomadcrew.uk",
            mail_sender="NomadCrew",
            log_days=30,
            api_rate=2_000,
            api_burst=4_000,
        ),
    }[name]()
    return _with_options(stage, **options)


def _with_options(stage: Stage, **options: str | None) -> Stage:
    """The stage with the values from the command line."""
    changes: dict[str, Any] = {name: value for name, value in options.items() if value}
    return replace(stage, **changes)


STAGES = ("rehearsal", "dev", "staging", "production")

"""Every number of every stage. A stage is chosen by `-c stage=…`, its preset by `-c preset=…`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nomadcrew.core.flags import REGISTRATION
from nomadcrew.core.limits import LIMITS

# What one machine's pages and the shipped app send and may read (hosts/machine/http/cors.py says the same).
CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CORS_HEADERS = (
    "authorization",
    "content-type",
    "accept",
    "idempotency-key",
    "x-csrf-token",
    "x-request-id",
    "x-requested-with",
)
CORS_EXPOSED = ("content-length", "retry-after", "x-request-id")
CORS_MAX_AGE_S = 43_200

# A queue waits six times as long as its function may run.
VISIBILITY_FACTOR = 6
DEAD_LETTER_DAYS = 14
ARCHIVE_DAYS = 30
RULE_RETRY_HOURS = 24
ACCESS_TOKEN_MINUTES = 15
MAX_STAGE_NAME = 12
SOCKET_STAGE = "v1"


# Timestream for LiveAnalytics takes no new accounts: a stage chooses it where an old one has it.
LocationStore = Literal["dynamodb", "aurora", "timestream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Aurora and how functions reach it."""

    access: Literal["data-api", "proxy"] = "data-api"
    min_acu: float = 0.5
    max_acu: float = 4
    pause_after_s: int | None = None  # with a minimum of 0 ACU only
    reader: bool = False
    backup_days: int = 7
    name: str = "nomadcrew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What the dear rows of the design cost: chosen together, changed one by one in a stage."""

    database: Database
    cache: Literal["dynamodb", "valkey"] = "dynamodb"
    stream: Literal["sqs", "kinesis"] = "sqs"
    location_store: LocationStore = "dynamodb"
    # Environments kept warm and ceilings, by function. A new account has about ten concurrent executions and
    # refuses to reserve any of them.
    provisioned: Mapping[str, int] = field(default_factory=dict)
    reserved: Mapping[str, int] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    "lean": Preset(database=Database(min_acu=0, max_acu=2, pause_after_s=300)),
    "rec": Preset(database=Database(min_acu=0.5, max_acu=8), cache="valkey", stream="kinesis"),
    "document": Preset(
        database=Database(access="proxy", min_acu=0.5, max_acu=16, reader=True, backup_days=14),
        cache="valkey",
        stream="kinesis",
        provisioned={"trips": 10},
        reserved={"trips": 100},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One deployment of everything."""

    name: str
    account: str
    region: str
    preset: str
    database: Database
    cache: Literal["dynamodb", "valkey"]
    stream: Literal["sqs", "kinesis"]
    location_store: LocationStore
    provisioned: Mapping[str, int]
    reserved: Mapping[str, int]
    mail_domain: str
    mail_sender: str
    # Where people reach the API, for links; None: the API's own address.
    public_url: str | None = None
    app_url: str | None = None
    # Where pushes are handed over, such as https://exp.host/--/api/v2/push; None: nothing is pushed anywhere. An
    # access token, where the project asks for one, stands in the stage's secret as `expo_token`.
    expo_url: str | None = None
    # A Supabase project to keep a copy of people, trips and positions in; None: there is none. Its service key
    # stands in the stage's secret as `supabase_service_key`.
    supabase_url: str | None = None
    registration: Literal["open", "closed"] = "open"
    rate_limits: str = ""
    allowed_origins: tuple[str, ...] = ("https://nomadcrew.uk", "https://app.nomadcrew.uk")
    log_level: str = "info"
    log_days: int = 14
    api_rate: int = 500  # requests a second
    api_burst: int = 1_000
    socket_rate: int = 500
    socket_burst: int = 500
    sms_codes: bool = False  # needs an origination number and money; authenticator apps need neither
    flags: Mapping[str, bool] = field(default_factory=lambda: {REGISTRATION: True})
    http_tags: Mapping[str, str] = field(default_factory=dict)
    socket_tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.name) > MAX_STAGE_NAME:
            raise ValueError(f"The stage's name {self.name!r} makes names of functions too long.")
        if (self.database.pause_after_s is not None) != (self.database.min_acu == 0):
            raise ValueError("A database pauses if it may go down to 0 ACU, and only then.")

    def named(self, name: str) -> str:
        """The name of something of this stage; unique in an account and region."""
        return f"nomadcrew-{self.name}-{name}"

    @property
    def bus_name(self) -> str:
        return "nomadcrew-events" if self.name == "production" else f"nomadcrew-events-{self.name}"

    @property
    def mail_from(self) -> str:
        return f"{self.mail_sender} <no-reply@{self.mail_domain}>"


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
        provisioned=chosen.provisioned,
        reserved=chosen.reserved,
        **numbers,  # type: ignore[arg-type]
    )


# Fixed ids, so that the emulator's addresses are known beforehand; on AWS they would be tags without a meaning.
_PINNED_HTTP = {"ms-custom-id": "0000a001"}
_PINNED_SOCKET = {"ms-custom-id": "0000a002"}


def stage_of(
    name: str,
    preset: str | None = None,
    *,
    public_url: str | None = None,
    expo_url: str | None = None,
    supabase_url: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Stage:
    """The stage of that name, in its own preset or another.

    Raises:
        KeyError: no such stage or preset, or the account of a real stage is not known.
    """
    if name == "rehearsal":
        stage = _stage(
            name,
            preset or "lean",
            "000000000000",
            "eu-west-1",
            mail_domain="nomadcrew.test",
            mail_sender="NomadCrew",
            allowed_origins=("https://app.nomadcrew.test",),
            # High enough for tests, and counted all the same.
            rate_limits=",".join(f"{bucket}=100000/60" for bucket in LIMITS if bucket != "failed_sign_in"),
            http_tags=_PINNED_HTTP,
            socket_tags=_PINNED_SOCKET,
        )
        # What it costs elsewhere is nothing here, and queues are shown by every other worker.
        stage = replace(stage, stream="kinesis")
        return _told(stage, public_url=public_url, expo_url=expo_url, supabase_url=supabase_url)
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
    return _told(stage, public_url=public_url, expo_url=expo_url, supabase_url=supabase_url)


def _told(stage: Stage, **given: str | None) -> Stage:
    """The stage with what was said of it on the command line."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value}
    return replace(stage, **changes)


STAGES = ("rehearsal", "dev", "staging", "production")

"""The configuration of a Lambda function: environment variables, which the infrastructure sets.

Loading the settings of the machine host would take a tenth of a cold start.
"""

from collections.abc import Mapping

from msgspec import Struct

from nomadcrew.core.errors import BadSetting

PREFIX = "NOMADCREW_"
AWS_PREFIX = f"{PREFIX}AWS_"
# The names are those of the machine host; docs/operating.md explains them.
SITE = (
    "public_url",
    "app_url",
    "registration",
    "trip_status",
    "mail_from",
    "rate_limits",
    "expo_url",
    "supabase_url",
    "weather_url",
    "pexels_url",
    "google_client_ids",
    "google_keys_url",
    "apple_client_ids",
    "apple_keys_url",
    "passkey_origins",
    "webhook_networks",
)


class AwsConfig(Struct, frozen=True, kw_only=True):
    """The site's settings, and the `NOMADCREW_AWS_…` variables; a function has those of its declared ports.

    `sql` is `data-api` or `proxy`, `cache` is `dynamodb` or `valkey`, `stream` is `sqs` or `kinesis`,
    `owner_secret_arn` has the user who may change the schema, `database_secret_arn` the one for rows.
    `location_store` is `dynamodb`, `aurora` or `timestream`; `history_database` is for `timestream`. `flags` is
    AppConfig's application/environment/profile, `topics` the prefix of topics.
    """

    public_url: str = ""
    app_url: str | None = None
    registration: str = "open"
    trip_status: str = "manual"
    mail_from: str = ""
    rate_limits: str = ""
    expo_url: str = ""
    supabase_url: str = ""
    weather_url: str = ""
    pexels_url: str = ""
    google_client_ids: str = ""
    google_keys_url: str = ""
    apple_client_ids: str = ""
    apple_keys_url: str = ""
    passkey_origins: str = ""
    webhook_networks: str = ""
    sql: str = ""
    cluster_arn: str = ""
    database_secret_arn: str = ""
    owner_secret_arn: str = ""
    database: str = ""
    proxy_host: str = ""
    proxy_user: str = ""
    event_bus: str = ""
    probe_queue_url: str = ""
    notifications_queue_url: str = ""
    email_queue_url: str = ""
    realtime_queue_url: str = ""
    push_queue_url: str = ""
    mirror_queue_url: str = ""
    webhooks_queue_url: str = ""
    exports_queue_url: str = ""
    location_queue_url: str = ""
    location_stream: str = ""
    stream: str = "sqs"
    location_store: str = "dynamodb"
    positions_table: str = ""
    history_table: str = ""
    history_database: str = ""
    audit_bucket: str = ""
    media_bucket: str = ""
    sessions_table: str = ""
    profiles_table: str = ""
    connections_table: str = ""
    presence_table: str = ""
    limits_table: str = ""
    weather_table: str = ""
    places: str = "off"
    chat_table: str = ""
    suppression_table: str = ""
    configuration_set: str = ""
    user_pool_id: str = ""
    user_pool_client_id: str = ""
    secret_links_arn: str = ""
    secret_codes_arn: str = ""
    secret_addresses_arn: str = ""
    secret_proofs_arn: str = ""
    secret_documents_arn: str = ""
    secret_webhooks_arn: str = ""
    secret_push_arn: str = ""
    secret_mirror_arn: str = ""
    secret_pexels_arn: str = ""
    sockets_url: str = ""
    cache: str = "dynamodb"
    cache_endpoint: str = ""
    cache_user: str = ""
    flags: str = ""
    topics: str = ""

    @property
    def webhook_network_list(self) -> tuple[str, ...]:
        return tuple(text.strip() for text in self.webhook_networks.split(",") if text.strip())

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "AwsConfig":
        """The configuration in an environment.

        Raises:
            BadSetting: a variable with our prefix is unknown.
        """
        known = {variable(name): name for name in cls.__struct_fields__}
        ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        for name in ours.keys() - known.keys():
            raise BadSetting(f"{name} is not a setting of a function.")
        return cls(**{known[name]: value for name, value in ours.items() if value})

    def required(self, name: str) -> str:
        """The value of a required variable.

        Raises:
            BadSetting: it is not set.
        """
        value = str(getattr(self, name))
        if not value:
            raise BadSetting(f"{variable(name)} is not set; the function's ports need it.")
        return value


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX if name in SITE else AWS_PREFIX}{name.upper()}"

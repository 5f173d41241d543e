"""Where a function finds its services: environment variables, which the infrastructure writes."""

from collections.abc import Mapping

from msgspec import Struct

from nomadcrew.settings import AWS_PREFIX, BadSetting


class AwsConfig(Struct, frozen=True, kw_only=True):
    """Every `NOMADCREW_AWS_…` variable; a function has those of the ports it declares.

    `sql` is `data-api` or `proxy`, `cache` is `dynamodb` or `valkey`; `flags` names AppConfig's
    application/environment/profile.
    """

    sql: str = ""
    cluster_arn: str = ""
    database_secret_arn: str = ""
    database: str = ""
    proxy_host: str = ""
    proxy_user: str = ""
    event_bus: str = ""
    probe_queue_url: str = ""
    notifications_queue_url: str = ""
    email_queue_url: str = ""
    realtime_queue_url: str = ""
    audit_bucket: str = ""
    sessions_table: str = ""
    profiles_table: str = ""
    connections_table: str = ""
    limits_table: str = ""
    suppression_table: str = ""
    configuration_set: str = ""
    user_pool_id: str = ""
    user_pool_client_id: str = ""
    secret_arn: str = ""
    sockets_url: str = ""
    cache: str = "dynamodb"
    cache_endpoint: str = ""
    cache_user: str = ""
    flags: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "AwsConfig":
        """The variables that are set.

        Raises:
            BadSetting: one looks like ours and is none.
        """
        known = {f"{AWS_PREFIX}{name.upper()}": name for name in cls.__struct_fields__}
        ours = {name: value for name, value in environment.items() if name.startswith(AWS_PREFIX)}
        for name in ours.keys() - known.keys():
            raise BadSetting(f"{name} is nothing a function knows.")
        return cls(**{known[name]: value for name, value in ours.items() if value})

    def required(self, name: str) -> str:
        """A variable that has to be there.

        Raises:
            BadSetting: it is not.
        """
        value = str(getattr(self, name))
        if not value:
            raise BadSetting(f"{AWS_PREFIX}{name.upper()} is not set; the function's ports need it.")
        return value

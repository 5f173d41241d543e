"""PostgreSQL through RDS Proxy: asyncpg with TLS, and an IAM token as the password."""

import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nomadcrew.adapters.aws.sdk.signing import AwsCredentials, presign

PORT = 5432
# The maximum lifetime of a token; connections may live longer.
TOKEN_LIFETIME_S = 900


def proxy_connection(
    host: str, user: str, database: str, *, environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Arguments for `asyncpg.connect`, which requests a new token for each connection.

    The statement cache is off: the proxy pins a client to one connection once it prepares a named statement.
    """

    def token() -> str:
        return presign(
            AwsCredentials.of(environment),
            service="rds-db",
            region=environment.get("AWS_REGION", "us-east-1"),
            host=f"{host}:{PORT}",
            query={"Action": "connect", "DBUser": user},
            lifetime_s=TOKEN_LIFETIME_S,
            now=datetime.now(UTC),
        )

    return {
        "host": host,
        "port": PORT,
        "user": user,
        "database": database,
        "password": token,
        "ssl": ssl.create_default_context(),
        "statement_cache_size": 0,
    }

"""PostgreSQL behind RDS Proxy: asyncpg, TLS, and a token of IAM's in place of a password."""

import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nomadcrew.adapters.aws.sdk.signing import Credentials, presign

PORT = 5432
# IAM takes a token for this long at most; a connection made with it may live on.
TOKEN_LIFETIME_S = 900


def proxy_connection(
    host: str, user: str, database: str, *, environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Arguments for `asyncpg.connect`, which asks for a fresh token with every connection.

    The proxy pins a client to one connection once it prepares a named statement, so none is kept.
    """

    def token() -> str:
        return presign(
            Credentials.of(environment),
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

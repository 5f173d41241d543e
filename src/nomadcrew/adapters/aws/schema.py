"""The schema on AWS: migrated by its owner, used by another database user."""

from collections.abc import Sequence

from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.adapters.postgres.application_user import allow_application_user
from nomadcrew.adapters.postgres.migrations import PostgresSchema
from nomadcrew.adapters.postgres.sql import Sql


class AwsSchema:
    """`Schema` that also keeps the rights and the password of the functions' database user up to date."""

    def __init__(self, owner: Sql, application: Secrets) -> None:
        """`application` is the secret with the name and password of that user."""
        self._owner = owner
        self._application = application

    async def bring_up_to_date(self) -> Sequence[str]:
        applied = await PostgresSchema(self._owner).bring_up_to_date()
        name, password = self._application.database_user()
        await allow_application_user(self._owner, name, password)
        return applied

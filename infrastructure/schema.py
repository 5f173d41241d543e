"""The version of the database schema; a change of it invokes the migrator."""

import hashlib
from pathlib import Path

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def schema_digest() -> str:
    """A digest of all migrations, of their names and contents."""
    digest = hashlib.sha256()
    for file in sorted(MIGRATIONS.glob("*.sql")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]

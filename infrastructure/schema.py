"""The version of the database schema and its rights; a change of it invokes the migrator."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
MIGRATIONS = ROOT / "migrations"
RIGHTS = ROOT / "src" / "nomadcrew" / "adapters" / "postgres" / "application_user.py"


def schema_digest() -> str:
    """A digest of all migrations and of the rights of the application's user, of their names and contents."""
    digest = hashlib.sha256()
    for file in (*sorted(MIGRATIONS.glob("*.sql")), RIGHTS):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]

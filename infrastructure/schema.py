"""What the migrator is called for: a change of the files it applies."""

import hashlib
from pathlib import Path

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def schema_digest() -> str:
    """A digest of every migration, by name and text."""
    digest = hashlib.sha256()
    for file in sorted(MIGRATIONS.glob("*.sql")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]

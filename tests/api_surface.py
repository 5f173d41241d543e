"""The API as lines of text, one for each parameter and field, so that a change of it is a change of lines.

`python -m tests.api_surface` adds new lines to `api_surface.txt`. It keeps a line that the API has lost until
docs/api-changes.md acknowledges it, so that a breaking change fails the check.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.ports import Site
from nomadcrew.web.openapi import document

FILE = Path(__file__).with_suffix(".txt")
CHANGES = Path(__file__).parents[1] / "docs" / "api-changes.md"
_ACKNOWLEDGED = re.compile(r"^- `(.+?)`: \S", re.MULTILINE)
_REPLY = re.compile(r"\S+ \S+ \d{3} ")

Schema = Mapping[str, Any]


def current() -> set[str]:
    """The lines of the API now."""
    openapi: dict[str, Any] = document(ALL_ROUTES, site=Site("https://api.example.org"))
    schemas: Mapping[str, Schema] = openapi["components"]["schemas"]
    lines: set[str] = set()
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict) and "responses" in operation:
                lines.update(f"{method.upper()} {path} {line}" for line in _operation(operation, schemas))
    return lines


def stored() -> set[str]:
    return set(FILE.read_text().splitlines()) if FILE.exists() else set()


def acknowledged() -> set[str]:
    """The lines of breaking changes in docs/api-changes.md."""
    return set(_ACKNOWLEDGED.findall(CHANGES.read_text()))


def breaking(before: set[str], now: set[str]) -> set[str]:
    """Lines that clients may miss: lost ones, and required fields that are new in a known body.

    A field of a reply that becomes required is no loss.
    """
    lost = {line for line in before - now if not (_REPLY.match(line) and line.replace("?: ", ": ") in now)}
    operations = {line.partition(" body ")[0] for line in before if " body " in line}
    demanded = {
        line
        for line in now - before
        if " body " in line and "?: " not in line and line.partition(" body ")[0] in operations
        and _parent(line) in {_parent(known) for known in before}
    }  # fmt: skip
    return lost | demanded


def _parent(line: str) -> str:
    """The line without its last field: new fields of a new optional object demand nothing."""
    return line.partition(": ")[0].rpartition(".")[0]


def _operation(operation: Schema, schemas: Mapping[str, Schema]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        optional = "" if parameter.get("required") else "?"
        yield f"{parameter['in']} {parameter['name']}{optional}: {_type(parameter['schema'], schemas)}"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body {media}"
        yield from _fields(f"body {media} ", content.get("schema", {}), schemas, ())
    for status, response in operation["responses"].items():
        yield status
        for media, content in response.get("content", {}).items():
            yield from _fields(f"{status} {media} ", content.get("schema", {}), schemas, ())


def _fields(prefix: str, schema: Schema, schemas: Mapping[str, Schema], seen: tuple[str, ...]) -> Iterator[str]:
    for part in _alternatives(schema):
        name = part.get("$ref", "").rpartition("/")[2]
        if name in seen:
            continue
        inner, path = (schemas[name], (*seen, name)) if name else (part, seen)
        for field, type_ in inner.get("properties", {}).items():
            optional = "" if field in inner.get("required", ()) else "?"
            yield f"{prefix}.{field}{optional}: {_type(type_, schemas)}"
            yield from _fields(f"{prefix}.{field}", type_, schemas, path)
        if "items" in inner:
            yield from _fields(f"{prefix}[]", inner["items"], schemas, path)


def _alternatives(schema: Schema) -> list[Schema]:
    return [*schema.get("anyOf", schema.get("oneOf", [schema]))]


def _type(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    names = set()
    for part in _alternatives(schema):
        known = schemas[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        values = known.get("enum") or ([known["const"]] if "const" in known else None)
        names.add("|".join(map(str, sorted(values, key=str))) if values else str(known.get("type", "any")))
    return " or ".join(sorted(names))


def main() -> None:
    before, now = stored(), current()
    unacknowledged = breaking(before, now) - acknowledged()
    kept = (now - unacknowledged) | (unacknowledged - now)
    FILE.write_text("".join(f"{line}\n" for line in sorted(kept)))
    print(f"{FILE.name}: {len(kept - before)} lines added, {len(before - kept)} removed.")
    for line in sorted(unacknowledged):
        print(f"Breaking, so add to docs/api-changes.md:\n- `{line}`: <reason and what clients do>")


if __name__ == "__main__":
    main()

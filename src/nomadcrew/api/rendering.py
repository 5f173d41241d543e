"""Templates of pages and mails, and how names and dates read in them."""

from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

MAX_SHOWN = 120
_JOINER = "\u200d"  # holds emoji of several people together


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("nomadcrew.api", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, /, **values: Any) -> str:
    """A template with its values; in HTML they are escaped."""
    return _environment().get_template(template).render(values)


def one_line(text: str) -> str:
    """Somebody's words as a harmless piece of a line: no line breaks, no invisible characters, not endless."""
    visible = "".join(c if c.isprintable() or c == _JOINER else " " for c in text)
    line = " ".join(visible.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1].rstrip()}…"


def day(moment: datetime) -> str:
    """Such as 1 July 2026."""
    return f"{moment.day} {moment:%B} {moment.year}"


def days(first: datetime, last: datetime) -> str:
    """Such as 1 July 2026 – 9 July 2026, or the one day it is."""
    return day(first) if first.date() == last.date() else f"{day(first)} – {day(last)}"


def minute(moment: datetime) -> str:
    """Such as 1 July 2026, 14:05 UTC."""
    return f"{day(moment)}, {moment:%H:%M} UTC"

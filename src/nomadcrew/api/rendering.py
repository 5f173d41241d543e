"""Renders the templates of pages and mails, and formats names and dates for them."""

from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

MAX_SHOWN = 120
_JOINER = "\u200d"  # joins several emoji into one


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
    """Render a template; HTML templates escape the values."""
    return _environment().get_template(template).render(values)


def one_line(text: str) -> str:
    """A user's text as part of a line: without line breaks and invisible characters, cut at `MAX_SHOWN`."""
    visible = "".join(c if c.isprintable() or c == _JOINER else " " for c in text)
    line = " ".join(visible.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1].rstrip()}…"


def day(moment: datetime) -> str:
    """For example `1 July 2026`."""
    return f"{moment.day} {moment:%B} {moment.year}"


def days(first: datetime, last: datetime) -> str:
    """For example `1 July 2026 – 9 July 2026`; one date if both are the same day."""
    return day(first) if first.date() == last.date() else f"{day(first)} – {day(last)}"


def minute(moment: datetime) -> str:
    """For example `1 July 2026, 14:05 UTC`."""
    return f"{day(moment)}, {moment:%H:%M} UTC"

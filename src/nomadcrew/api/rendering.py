"""Renders the templates of pages and mails, and formats names and dates for them."""

import re
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from nomadcrew.core.graphemes import shortened
from nomadcrew.core.text import visible_line

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_SHOWN = 120
# A scheme, and a dot before a letter, also the dots of other scripts that IDNA reads as dots.
_LINK = re.compile(r":/+|(?<=\S)[.\u2024\u3002\uff0e\uff61](?=[^\W\d_])")


@cache
def environment() -> "Environment":
    """The templates. Their library is imported with the first page or mail: few processes of the host make one."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("nomadcrew.api", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, /, **values: Any) -> str:
    """Render a template; HTML templates escape the values."""
    return environment().get_template(template).render(values)


def one_line(text: str) -> str:
    """A user's text as part of a line: without line breaks and invisible characters, cut at `MAX_SHOWN`."""
    return shortened(visible_line(text), MAX_SHOWN)


def unlinked(text: str) -> str:
    """A user's text as part of a line of a mail, where mail programs make links of URLs and domains.

    A space after each dot and scheme that could belong to a link leaves names as they are read: `J. R. Lima`.
    """
    return one_line(_LINK.sub(r"\g<0> ", visible_line(text)))


def day(moment: date) -> str:
    """For example `1 July 2026`."""
    return f"{moment.day} {moment:%B} {moment.year}"


def days(first: datetime, last: datetime) -> str:
    """For example `1 July 2026 – 9 July 2026`; one date if both are the same day."""
    return day(first) if first.date() == last.date() else f"{day(first)} – {day(last)}"


def minute(moment: datetime) -> str:
    """For example `1 July 2026, 14:05 UTC`."""
    return f"{day(moment)}, {moment:%H:%M} UTC"

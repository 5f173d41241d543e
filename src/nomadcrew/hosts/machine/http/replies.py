"""Replies as bytes of HTTP/1.1."""

import http
from collections.abc import Mapping

STATUS_LINES: Mapping[int, str] = {
    each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in http.HTTPStatus
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def head_of(
    status: int, headers: Mapping[str, str], *, date: str = "", length: int | None = None, closes: bool = False
) -> bytes:
    """The head of a reply. `date` is a whole line or empty; without `length` the reply has no body.

    Raises:
        ValueError: a header contains a line break, so that it would be read as two, or a character beyond Latin-1.
    """
    lines = [STATUS_LINES[status], date, *[f"{name}: {value}\r\n" for name, value in headers.items()]]
    if length is not None:
        lines.append(f"content-length: {length}\r\n")
    if closes and "connection" not in headers:
        lines.append("connection: close\r\n")
    lines.append("\r\n")
    text = "".join(lines)
    breaks = len(lines) - (not date)
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a header of the reply contains a line break or NUL")
    return text.encode("latin-1")

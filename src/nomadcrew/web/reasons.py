"""The reason of a refused body as a sentence for users: the shipped app shows it, and nothing else of a refusal."""

import re

_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_NAME = re.compile(r"\.([A-Za-z_]\w*)")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_LENGTH = re.compile(r"Expected `(str|array|object|bytes)` of length (<=|>=) ([0-9]+)")
_RANGE = re.compile(r"Expected `(?:int|float)` (<=|>=|<|>) ([-0-9.]+)")
_TYPE = re.compile(r"Expected `([^`]+)`")

_WHOLE = {
    "the body is not JSON": "The request is damaged: its body is not JSON.",
    "the body is empty": "The request has no body.",
    "the body is nested too deeply": "The request is nested too deeply.",
    "a text contains a NUL character": "A text contains a character that cannot be stored.",
}
_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a date and time",
    "uuid": "an id",
}
_UNITS = {"str": "characters", "array": "entries", "object": "entries", "bytes": "bytes"}
_COMPARED = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}


def reason(details: str) -> str:
    """The sentence for details in msgspec's words, or for those of `decode`; it names the field."""
    whole = _WHOLE.get(details)
    if whole is not None:
        return whole
    path = _PATH.search(details)
    name = _label(path[1]) if path else ""
    fault = details[: path.start()] if path else details
    missing = _MISSING.fullmatch(fault)
    if missing:
        field = _words(missing[1])
        return f"{_capital(name)}: {field} is missing." if name else f"{_capital(field)} is missing."
    if not fault.startswith(("Expected ", "Invalid ")):  # our own words, of a body's own check
        return f"{_capital(fault.replace('`', ''))}."
    return f"{_capital(name)} {_fault(fault)}." if name else f"The request {_fault(fault)}."


def _fault(fault: str) -> str:
    length = _LENGTH.match(fault)
    if length:
        kind, sign, count = length.groups()
        if (sign, count) == (">=", "1"):
            return "must not be empty"
        return f"must have {_COMPARED[sign]} {count} {_UNITS[kind]}"
    bound = _RANGE.match(fault)
    if bound:
        return f"must be {_COMPARED[bound[1]]} {bound[2].removesuffix('.0')}"
    if fault.startswith("Invalid RFC3339"):
        return "must be a date and time, such as 2026-07-01T09:00:00Z"
    if fault.startswith("Invalid UUID"):
        return "must be an id"
    expected = _TYPE.match(fault)
    if expected and "matching regex" not in fault:
        kinds = [_KINDS[kind] for kind in expected[1].split(" | ") if kind in _KINDS]
        if kinds:
            return f"must be {' or '.join(kinds)}"
    return "has a value that is not valid"


def _label(path: str) -> str:
    """The words of a path, such as "stops place id"."""
    return " ".join(_words(name) for name in _NAME.findall(path))


def _words(name: str) -> str:
    """The words of a name in camel case: "placeId" is "place id"."""
    return _WORDS.sub(" ", name).lower()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

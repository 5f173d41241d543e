"""Reads the preferences that clients store as free JSON: a switch that this product obeys is never misread."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nomadcrew.core.errors import Invalid
from nomadcrew.core.notifications.preferences import DETAILS, SWITCHES, ChatLevel, QuietHours

GHOST_MODE = "ghostMode"
_Check = Callable[[str, Any], None]


def checked_preferences(preferences: Mapping[str, Any]) -> dict[str, Any]:
    """The preferences with the known keys in their own spelling; the values of other keys are not looked at.

    Raises:
        Invalid: a known key has a value of another kind, or two values, or belongs to another route. Storing it
            would have no effect.
    """
    return _checked(preferences, _KNOWN)


def _checked(values: Mapping[str, Any], known: Mapping[str, tuple[str, _Check]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        name, check = known.get(_folded(key), (key, _anything))
        check(name, value)
        if name in result and result[name] != value:
            raise _invalid(f"`{name}` is given twice, with different values.")
        result[name] = _checked(value, _INSIDE[name]) if name in _INSIDE and value is not None else value
    return result


def _folded(key: str) -> str:
    """A key without case, separators and invisible characters: such as ghost-mode for the switch `ghostMode`."""
    return "".join(character for character in key.lower() if character.isalnum())


def _anything(_name: str, _value: Any) -> None:
    pass


def _switch(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, bool):
        raise _invalid(f"`{name}` must be true or false.")


def _object(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, dict):
        raise _invalid(f"`{name}` must be an object.")


def _chat_level(name: str, value: Any) -> None:
    if value not in (None, *ChatLevel):
        raise _invalid(f"`{name}` must be one of {', '.join(ChatLevel)}.")


def _quiet_hours(name: str, value: Any) -> None:
    _object(name, value)
    if value is not None:
        texts = [value.get(part) for part in ("start", "end", "timeZone")]
        if not all(isinstance(text, str) for text in texts):
            raise _invalid(f"`{name}` must have `start`, `end` and `timeZone`.")
        QuietHours.parse(*texts)


def _elsewhere(name: str, _value: Any) -> None:
    raise _invalid(f"`{name}` is no preference; set it with PUT /v1/location/preferences.")


def _invalid(text: str) -> Invalid:
    return Invalid(text, code="invalid_preferences")


def _table(**checks: _Check) -> Mapping[str, tuple[str, _Check]]:
    return MappingProxyType({_folded(name): (name, check) for name, check in checks.items()})


_KNOWN = _table(
    **{GHOST_MODE: _switch, SWITCHES: _object, DETAILS: _object},
    locationPrivacyPreference=_elsewhere,
    isSharingEnabled=_elsewhere,
    sharingExpiresIn=_elsewhere,
)
_INSIDE: Mapping[str, Mapping[str, tuple[str, _Check]]] = MappingProxyType(
    {
        SWITCHES: _table(push=_switch, email=_switch, tripUpdates=_switch, chatMessages=_switch),
        DETAILS: _table(
            inApp=_switch,
            chat=_chat_level,
            todos=_switch,
            locationSharing=_switch,
            arrivals=_switch,
            quietHours=_quiet_hours,
        ),
    }
)

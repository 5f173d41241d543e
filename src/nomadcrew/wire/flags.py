"""Flags as they are written down: `{"registration": {"enabled": true}}`."""

import msgspec


class _Flag(msgspec.Struct):
    enabled: bool = False


_decode = msgspec.json.Decoder(dict[str, _Flag]).decode


def flags_in(text: bytes) -> dict[str, bool]:
    """Flags by name.

    Raises:
        ValueError: that is not how flags are written.
    """
    try:
        return {name: flag.enabled for name, flag in _decode(text).items()}
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error

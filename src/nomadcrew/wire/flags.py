"""The JSON form of feature flags: `{"registration": {"enabled": true}}`."""

import msgspec


class _Flag(msgspec.Struct):
    enabled: bool = False


_decode = msgspec.json.Decoder(dict[str, _Flag]).decode


def flags_in(text: bytes) -> dict[str, bool]:
    """Decode flags by name.

    Raises:
        ValueError: the text is not in that form.
    """
    try:
        return {name: flag.enabled for name, flag in _decode(text).items()}
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error

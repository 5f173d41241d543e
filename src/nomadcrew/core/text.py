"""Keys that compare and find texts, and the rules for texts that name something.

Every comparison of texts that users write goes through the keys of this module, on both hosts. SQL stores and
compares keys and folds no case itself: PostgreSQL and Python fold it differently.
"""

from unicodedata import bidirectional, category, combining, normalize

from nomadcrew.core.errors import Invalid

# Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt, stable since Unicode 3.2): invisible
# format characters, fillers, variation selectors and tags.
_IGNORABLE_RANGES = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_IGNORABLE = frozenset(chr(code) for first, last in _IGNORABLE_RANGES for code in range(first, last + 1))
# Letters and symbols with an empty glyph: Braille and hieroglyphic blanks, a note without a head, the place of an
# embedded object.
_BLANK = frozenset("\u2800\ufffc\U00013441\U00013442\U0001d159")
# Code points that will never be characters.
_NONCHARACTERS = frozenset(
    map(chr, (*range(0xFDD0, 0xFDF0), *(0x10000 * p + n for p in range(17) for n in (65534, 65535))))
)
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_FLAG, _TAGS, _LAST_TAG = "\U0001f3f4", frozenset(map(chr, range(0xE0020, 0xE007F))), "\U000e007f"
_TAG_LETTERS = "".join(_TAGS)
# Tags stay in keys: they are all that tells the flag of Wales from the flag of Scotland.
_DROPPED = _IGNORABLE - _TAGS - {_LAST_TAG}
_VARIATIONS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_MONGOLIAN, _MONGOLIAN_VARIATIONS = range(0x1820, 0x18AB), frozenset("\u180b\u180c\u180d\u180e\u180f")
_OVERRIDES = frozenset("\u202d\u202e")
_ENDS = {"\u202a": "\u202c", "\u202b": "\u202c", "\u2066": "\u2069", "\u2067": "\u2069", "\u2068": "\u2069"}
_EMPTY = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_VIRAMA = 9  # canonical combining class of the signs that join the consonants of Indic scripts
# Letters that do not decompose, as people write them on a keyboard without them.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ŧ": "t", "æ": "ae", "œ": "oe",
                        "þ": "th", "ŋ": "n"})  # fmt: skip


def comparison_key(text: str) -> str:
    """The same key for texts that readers take for the same: any composition, any case, any invisible characters.

    Canonical caseless matching (Unicode 16, D145), without the characters that Unicode lets programs ignore.
    """
    if text.isascii():
        return text.strip().lower()
    folded = normalize("NFD", text).casefold()
    return normalize("NFC", "".join(c for c in folded if c not in _DROPPED)).strip()


def email_key(address: str) -> str:
    """The same key for spellings of one mailbox; its domain is the IDNA A-label, to which mail can be sent."""
    local, _, domain = address.strip().rpartition("@")
    return f"{comparison_key(local)}@{ascii_domain(domain)}"


def ascii_domain(domain: str) -> str:
    """The IDNA A-label of a domain; for a text that is no domain, its comparison key."""
    if domain.isascii():
        return domain.strip().lower()
    # Its tables take ten milliseconds, which few requests need.
    import idna

    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return comparison_key(domain)


def search_key(text: str) -> str:
    """The key of a search, in a text and in a query: as `comparison_key`, and without accents and pointing.

    Compatibility forms are equal, such as full-width letters. Marks that are letters of their script stay, as the
    vowels of Thai and Devanagari and the voicing marks of Japanese.
    """
    if text.isascii():
        return text.lower()
    folded = normalize("NFKD", normalize("NFKD", text).casefold())
    kept = "".join(c for c in folded if c not in _DROPPED and not _is_accent(c))
    return normalize("NFC", kept.translate(_PLAIN))


def composed(text: str) -> str:
    """The text in NFC, without white space and invisible characters at its ends."""
    text = normalize("NFC", text)
    start, end = 0, len(text)
    while start < end and _is_margin(text[start]):
        start += 1
    while end > start and _is_margin(text[end - 1]) and not _is_needed(text, end - 1):
        end -= 1
    return text[start:end]


def visible_line(text: str) -> str:
    """The text on one line, without characters that show nothing, such as controls and reversals of direction.

    Joiners, tags and variation selectors stay in the places where a script or an emoji needs them.
    """
    kept = (
        character if not _is_hidden(character) or _is_needed(text, at) else "" if character in _IGNORABLE else " "
        for at, character in enumerate(text)
    )
    return " ".join("".join(kept).split())


def is_visible(text: str) -> bool:
    """True if a text has a visible character. Unassigned code points count as visible: they may be new emoji."""
    return any(category(c)[0] not in "ZM" and not _is_empty(c) and c not in _BLANK for c in text)


def is_identifier(text: str) -> bool:
    """True if a composed text is visible throughout: without spaces, controls and characters that show nothing.

    Joiners, tags and variation selectors are allowed in the places where a script or an emoji needs them.
    """
    return is_visible(text) and all(
        not _is_hidden(character) or _is_needed(text, at) for at, character in enumerate(text)
    )


def check_label(field: str, text: str) -> None:
    """Check a text that names or describes something; it may be empty.

    Raises:
        Invalid: the text shows nothing, or turns the direction of the text around it.
    """
    if text.strip() and not is_visible(text):
        raise Invalid(f"`{field}` must have a visible character.", code="invalid_request_payload")
    if turns_direction(text):
        raise Invalid(
            f"`{field}` must not contain characters that reverse the direction of the text.",
            code="invalid_request_payload",
        )


def turns_direction(text: str) -> bool:
    """True if a text overrides the direction of its characters, or of those after it.

    Embeddings and isolates that are closed are harmless; phones copy them with telephone numbers.
    """
    if text.isascii():
        return False
    open_: list[str] = []
    for character in text:
        if character in _OVERRIDES:
            return True
        if character in _ENDS:
            open_.append(_ENDS[character])
        elif character in _ENDS.values() and (not open_ or open_.pop() != character):
            return True
    return bool(open_)


def _is_accent(character: str) -> bool:
    """Accents, overlays, and the points of Hebrew, Arabic and Syriac, by their canonical combining class."""
    class_ = combining(character)
    return class_ == 1 or 10 <= class_ <= 36 or class_ >= 200


def _is_margin(character: str) -> bool:
    return character in _IGNORABLE or character.isspace() or category(character) == "Cf"


def _is_empty(character: str) -> bool:
    return character in _IGNORABLE or character in _NONCHARACTERS or category(character) in _EMPTY


def _is_hidden(character: str) -> bool:
    return _is_empty(character) or character in _BLANK or category(character) == "Co"


def _is_needed(text: str, at: int) -> bool:
    """True if an invisible character changes how the characters beside it look."""
    character, before, after = text[at], text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    if not before:
        return False
    if character in (_JOINER, _NON_JOINER):
        return _joins(character, before, after)
    if character in _VARIATIONS:
        return before not in _IGNORABLE and (category(before) == "Lo" or category(before)[0] in "NPSC")
    if character in _TAGS or character == _LAST_TAG:
        return text[:at].rstrip(_TAG_LETTERS).endswith(_FLAG) and _LAST_TAG in text[at:]
    return character in _MONGOLIAN_VARIATIONS and ord(before) in _MONGOLIAN


def _joins(character: str, before: str, after: str) -> bool:
    """True for joiners at a virama, between Arabic letters and between emoji."""
    if any(neighbour and combining(neighbour) == _VIRAMA for neighbour in (before, after)):
        return True
    if character == _NON_JOINER:
        return all(neighbour and bidirectional(neighbour) in ("AL", "NSM") for neighbour in (before, after))
    return _is_pictograph(after) and (before in _VARIATIONS or before == _LAST_TAG or _is_pictograph(before))


def _is_pictograph(character: str) -> bool:
    return bool(character) and category(character) in ("So", "Sm", "Sk", "Cn")

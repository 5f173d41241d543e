"""The metadata of documents: keys by type, both spellings, and the day of the end."""

from datetime import date

import pytest

from nomadcrew.core.documents.metadata import description_of, ends_on, kept
from nomadcrew.core.documents.model import (
    MAX_DESCRIPTION,
    MAX_METADATA_BYTES,
    MAX_NAME,
    BadMetadata,
    DocumentType,
    MetadataTooLarge,
)
from nomadcrew.core.errors import Invalid


@pytest.mark.contract("rest-activity.wallet.metadata")
@pytest.mark.parametrize("type_", DocumentType)
def test_each_type_keeps_keys_in_both_spellings(type_: DocumentType) -> None:
    # The contract's first key of each type.
    snake = {
        "passport": "passport_number", "visa": "visa_number", "insurance": "policy_number",
        "vaccination": "vaccine_name", "loyalty_card": "card_number", "flight_booking": "flight_number",
        "hotel_booking": "hotel_name", "reservation": "venue_name", "receipt": "merchant", "other": "notes",
    }[type_]  # fmt: skip
    first, *others = snake.split("_")
    camel = first + "".join(word.title() for word in others)
    for key in (snake, camel):
        assert kept(type_, {key: "x", "unknown_key": "y"}) == {key: "x"}


def test_values_are_texts_numbers_flags_or_null() -> None:
    metadata = {"amount": 12.5, "currency": "EUR", "date": None, "category": True}
    assert kept("receipt", metadata) == metadata
    for value in (list[str](), dict[str, str](), ["EUR"]):
        with pytest.raises(BadMetadata):
            kept("receipt", {"currency": value})
    assert kept("receipt", {"unknown": []}) == {}


@pytest.mark.contract("rest-activity.wallet.metadata")
def test_large_metadata_is_refused_after_other_keys_are_dropped() -> None:
    room = MAX_METADATA_BYTES - len('{"notes": ""}')
    assert kept("other", {"notes": "x" * room, "unknown": "x" * room})
    with pytest.raises(MetadataTooLarge):
        kept("other", {"notes": "x" * (room + 1)})


@pytest.mark.parametrize("type_", ["passport", "visa", "insurance"])
@pytest.mark.parametrize("key", ["expiry_date", "expiryDate"])
@pytest.mark.parametrize("value", ["2027-02-03", " 2027-02-03T00:00:00.000Z"])
def test_a_document_ends_on_its_expiry_date(type_: str, key: str, value: str) -> None:
    assert ends_on(type_, {"country": "PT", key: value}) == date(2027, 2, 3)


@pytest.mark.parametrize("metadata", [{}, {"expiryDate": "03/02/2027"}, {"expiryDate": 2027}, {"expiryDate": None}])
def test_a_document_without_a_readable_date_has_no_end(metadata: dict[str, str | int | None]) -> None:
    assert ends_on("passport", metadata) is None


def test_other_types_have_no_end() -> None:
    assert ends_on("loyalty_card", {"expiryDate": "2027-02-03"}) is None


def test_texts_are_checked() -> None:
    texts = description_of(DocumentType.OTHER, "x" * MAX_NAME, "y" * MAX_DESCRIPTION, None)
    assert (texts.metadata, texts.ends_on) == ({}, None)
    assert description_of(DocumentType.OTHER, "x", "", {}).description is None
    for name, description in (
        (" ", None),
        ("x" * (MAX_NAME + 1), None),
        ("x", "y" * (MAX_DESCRIPTION + 1)),
        ("x", "\u202e"),
    ):
        with pytest.raises(Invalid):
            description_of(DocumentType.OTHER, name, description, None)

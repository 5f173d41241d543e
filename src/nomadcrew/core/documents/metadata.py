"""Metadata of documents: the keys of each type, and the day on which a document ends.

Clients spell keys in camel case or with underscores. Both are accepted and returned as sent.
"""

import json
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

from nomadcrew.core.documents.model import (
    MAX_DESCRIPTION,
    MAX_METADATA_BYTES,
    MAX_NAME,
    BadMetadata,
    Description,
    DocumentType,
    Metadata,
    MetadataTooLarge,
)
from nomadcrew.core.errors import Invalid
from nomadcrew.core.text import check_label

_BOOKING = "bookingReference confirmationNumber provider location"
_STAY = "checkIn checkOut checkInDate checkOutDate"
_KEYS: Mapping[DocumentType, str] = {
    DocumentType.PASSPORT: "passportNumber documentNumber country issuingCountry expiryDate issueDate nationality",
    DocumentType.VISA: "visaNumber documentNumber country issuingCountry expiryDate issueDate visaType",
    DocumentType.INSURANCE: "policyNumber documentNumber provider expiryDate issueDate coverageType",
    DocumentType.VACCINATION: "vaccineName dateAdministered date doseNumber documentNumber provider expiryDate",
    DocumentType.LOYALTY_CARD: "cardNumber memberNumber programName tier expiryDate provider",
    DocumentType.FLIGHT_BOOKING: f"{_BOOKING} airline flightNumber departureDate arrivalDate departureAirport "
    "arrivalAirport departureTime arrivalTime",
    DocumentType.HOTEL_BOOKING: f"{_BOOKING} {_STAY} hotelName address",
    DocumentType.RESERVATION: f"{_BOOKING} {_STAY} venueName reservationDate reservationTime date partySize",
    DocumentType.RECEIPT: "merchant amount currency transactionDate date category",
    DocumentType.OTHER: "notes documentNumber provider location date expiryDate",
}
# The types whose end matters to a traveller.
ENDING = frozenset({DocumentType.PASSPORT, DocumentType.VISA, DocumentType.INSURANCE})


def _plain(key: str) -> str:
    """The same text for both spellings of a key."""
    return key.replace("_", "").lower()


_ALLOWED: Mapping[str, frozenset[str]] = MappingProxyType(
    {type_: frozenset(map(_plain, keys.split())) for type_, keys in _KEYS.items()}
)


def description_of(
    type_: DocumentType, name: str, description: str | None, metadata: Mapping[str, Any] | None
) -> Description:
    """The texts of a new document, checked.

    Raises:
        Invalid: a text is too long or shows nothing.
        BadMetadata, MetadataTooLarge: as `kept` says.
    """
    check_name(name)
    check_description(description)
    checked = kept(type_, metadata or {})
    return Description(type_, name, description or None, checked, ends_on(type_, checked))


def check_name(name: str) -> None:
    """Raise Invalid if a name is empty, too long or shows nothing."""
    check_label("name", name)
    if not name.strip() or len(name) > MAX_NAME:
        raise Invalid(
            f"The name of a document must have 1 to {MAX_NAME} characters.", code="invalid_request_payload"
        )


def check_description(description: str | None) -> None:
    """Raise Invalid if a description is too long or shows nothing."""
    if description is None:
        return
    check_label("description", description)
    if len(description) > MAX_DESCRIPTION:
        raise Invalid(
            f"The description of a document must have at most {MAX_DESCRIPTION:,} characters.",
            code="invalid_request_payload",
        )


def kept(type_: str, metadata: Mapping[str, Any]) -> Metadata:
    """The metadata that a type has, as sent; other keys are dropped.

    Raises:
        BadMetadata: a value is a list or an object.
        MetadataTooLarge: they exceed `MAX_METADATA_BYTES`.
    """
    allowed = _ALLOWED[type_]
    result = {key: value for key, value in metadata.items() if _plain(key) in allowed}
    if not all(value is None or isinstance(value, str | int | float) for value in result.values()):
        raise BadMetadata("Each value of `metadata` must be a text, a number, true, false or null.")
    if len(json.dumps(result, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise MetadataTooLarge
    return result


def ends_on(type_: str, metadata: Metadata) -> date | None:
    """The last day of a passport, a visa or an insurance; None for other types, and without a readable date."""
    if type_ not in ENDING:
        return None
    text = next((value for key, value in metadata.items() if _plain(key) == "expirydate"), None)
    if not isinstance(text, str):
        return None
    try:
        return date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None

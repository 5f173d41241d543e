"""A photo that shows the destination of a trip."""

from msgspec import Struct

from nomadcrew.core.errors import PermanentFailure

MAX_QUERY = 100  # characters
MAX_PHOTOGRAPHER = 255
MAX_URL = 512


class FoundPhoto(Struct, frozen=True):
    """The address of a photo, and its credit: the photographer and the page of the photo."""

    url: str
    photographer: str
    page_url: str


class PhotoSearchRefused(PermanentFailure):
    """The service refuses the search: an operator must check its key."""

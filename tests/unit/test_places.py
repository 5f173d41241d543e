"""Places: the texts and coordinates that are accepted, and a server without places."""

import pytest

from nomadcrew.adapters.noop import NoPlaces
from nomadcrew.core.errors import Invalid
from nomadcrew.core.places import service
from nomadcrew.core.places.model import Coordinates, FoundPlaces, PlacesOff


class Recorder:
    """`Places` that finds nothing and records texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def suggest(self, text: str, *, near: Coordinates | None, limit: int) -> FoundPlaces:
        self.texts.append(text)
        return FoundPlaces([], None)

    async def reverse(self, at: Coordinates) -> FoundPlaces:
        raise AssertionError


async def test_white_space_around_and_within_a_text_does_not_matter() -> None:
    places = Recorder()
    await service.suggest("  São \t Paulo ", near=None, limit=1, places=places)
    assert places.texts == ["São Paulo"]


@pytest.mark.parametrize("text", ["", " ", "p", " p ", "x" * 101])
async def test_a_text_that_is_too_short_or_too_long_is_refused(text: str) -> None:
    places = Recorder()
    with pytest.raises(Invalid, match="2 to 100"):
        await service.suggest(text, near=None, limit=1, places=places)
    assert places.texts == []


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (None, "1"),
        ("1", None),
        ("", ""),
        ("north", "1"),
        ("90.1", "0"),
        ("0", "-180.1"),
        ("nan", "0"),
        ("0", "inf"),
    ],
)
def test_texts_that_are_no_coordinates_are_refused(latitude: str | None, longitude: str | None) -> None:
    with pytest.raises(Invalid, match="`near` must be a latitude"):
        service.coordinates(latitude, longitude, name="`near`")


def test_coordinates_are_read() -> None:
    assert service.coordinates("-90", " 180 ", name="`near`") == Coordinates(-90.0, 180.0)
    assert service.coordinates("1e-183", "-5.96e-8", name="`near`") == Coordinates(0.0, 0.0)


async def test_a_server_without_places_says_so() -> None:
    for call in (NoPlaces().suggest("po", near=None, limit=1), NoPlaces().reverse(Coordinates(1, 2))):
        with pytest.raises(PlacesOff) as refused:
            await call
        assert refused.value.code == "places_off"

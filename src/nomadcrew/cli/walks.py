"""Walks through a city, from the GPX files in `routes/`."""

# Only files of this package are read.
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from nomadcrew.core.locations.geometry import LatLon, distance_m

FOLDER = Path(__file__).with_name("routes")
_GPX = {"gpx": "http://www.topografix.com/GPX/1/1"}


@dataclass(frozen=True, slots=True)
class Walk:
    """A path, in degrees of latitude and longitude."""

    name: str
    points: tuple[LatLon, ...]

    @property
    def length_m(self) -> float:
        return sum(distance_m(here, there) for here, there in pairwise(self.points))

    def at(self, walked_m: float) -> LatLon:
        """The position after `walked_m` metres; beyond the end, the last point."""
        left_m = walked_m
        for here, there in pairwise(self.points):
            step_m = distance_m(here, there)
            if left_m <= step_m:
                share = left_m / step_m if step_m else 0.0
                return here[0] + (there[0] - here[0]) * share, here[1] + (there[1] - here[1]) * share
            left_m -= step_m
        return self.points[-1]


@dataclass(frozen=True, slots=True)
class City:
    """Walks that end at one point."""

    goal: str
    point: LatLon
    walks: tuple[Walk, ...]


def city(name: str) -> City:
    """A city's walks.

    Raises:
        FileNotFoundError: there is no GPX file for the city.
    """
    root = ElementTree.parse(FOLDER / f"{name}.gpx").getroot()  # noqa: S314
    goal = root.find("gpx:wpt", _GPX)
    assert goal is not None
    walks = [
        Walk(track.findtext("gpx:name", "", _GPX), tuple(map(_point, track.iterfind(".//gpx:trkpt", _GPX))))
        for track in root.iterfind("gpx:trk", _GPX)
    ]
    return City(goal.findtext("gpx:name", "", _GPX), _point(goal), tuple(walks))


def _point(element: ElementTree.Element) -> LatLon:
    return float(element.attrib["lat"]), float(element.attrib["lon"])

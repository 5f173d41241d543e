"""The ports that an export reads."""

from nomadcrew.core.archives.export import TripSources
from nomadcrew.core.ports import Ports


def sources_of(ports: Ports) -> TripSources:
    return TripSources(
        ports.trips,
        ports.todos,
        ports.polls,
        ports.chat,
        ports.documents,
        ports.positions,
        ports.meeting_points,
        ports.profiles,
        ports.files,
        ports.document_files,
    )

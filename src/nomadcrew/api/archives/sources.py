"""The ports that an export reads, and those that an import writes to."""

from nomadcrew.core.archives.export import TripSources
from nomadcrew.core.archives.importing import ImportPorts
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
        ports.pictures,
        ports.picture_files,
    )


def import_ports_of(ports: Ports) -> ImportPorts:
    return ImportPorts(
        ports.trip_imports, ports.trips, ports.chat, ports.files, ports.document_files, ports.picture_files
    )

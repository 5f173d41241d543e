"""The location stream of one machine, without a stream: a report is broadcast when it is committed."""

from nomadcrew.core.ids import NewId
from nomadcrew.core.locations.model import Accepted, Report
from nomadcrew.core.locations.ports import LocationSharing
from nomadcrew.core.locations.service import note_arrivals, tell_crew
from nomadcrew.core.realtime import Live


class DirectLocationStream:
    """`LocationStream` for positions that store their own history."""

    def __init__(self, sharing: LocationSharing, live: Live, new_id: NewId) -> None:
        self._sharing = sharing
        self._live = live
        self._new_id = new_id

    async def carry(self, report: Report, accepted: Accepted) -> bool:
        arrivals = await tell_crew(report.trip_id, accepted, live=self._live, new_id=self._new_id, now=report.now)
        await note_arrivals(
            report.trip_id,
            accepted.member,
            arrivals,
            sharing=self._sharing,
            new_id=self._new_id,
            now=report.now,
        )
        return bool(arrivals)

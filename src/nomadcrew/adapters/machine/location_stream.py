"""The location stream of one machine, without a stream: a report is broadcast when it is committed."""

from nomadcrew.core.ids import NewId
from nomadcrew.core.locations.model import Accepted, Report
from nomadcrew.core.locations.ports import LocationSharing
from nomadcrew.core.locations.service import broadcast_positions, record_arrivals
from nomadcrew.core.realtime import Broadcaster


class DirectLocationStream:
    """`LocationStream` for positions that store their own history."""

    def __init__(self, sharing: LocationSharing, broadcaster: Broadcaster, new_id: NewId) -> None:
        self._sharing = sharing
        self._live = broadcaster
        self._new_id = new_id

    async def publish(self, report: Report, accepted: Accepted) -> bool:
        arrivals = await broadcast_positions(
            report.trip_id, accepted, broadcaster=self._live, new_id=self._new_id, now=report.now
        )
        await record_arrivals(
            report.trip_id,
            accepted.member,
            arrivals,
            sharing=self._sharing,
            new_id=self._new_id,
            now=report.now,
        )
        return bool(arrivals)

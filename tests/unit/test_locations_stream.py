"""Records of the location stream, and batches with invalid records or failures."""

import base64
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.locations.model import Accepted, ArrivalState, LocationRecord, Member, Owner, Privacy, Report
from nomadcrew.core.locations.reports import ReportedPosition, SharingChoice, batch
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.functions.location_stream import consume_records
from nomadcrew.hosts.aws.stream_event import stream_entry
from nomadcrew.wire.location_records import NotALocationRecord, pack_record, record_of, unpack_record
from tests.fakes import NOON, fake_ports
from tests.lambda_loops import close_lambda_loops

__all__ = ["close_lambda_loops"]

PORTO = (41.15, -8.61)
FAR = (40.2, -8.4)
SECOND = timedelta(seconds=1)
TRIP, ANA = TripId(uuid7()), UserId(uuid7())


def a_report(
    trip: TripId, user: UserId, *places: tuple[float, float], privacy: Privacy = Privacy.PRECISE, at_s: int = 0
) -> Report:
    """A report of positions one second apart."""
    fixes = [
        ReportedPosition(*place, NOON + (at_s + n) * SECOND, privacy, accuracy_m=3.0)
        for n, place in enumerate(places)
    ]
    now = NOON + (at_s + len(places) - 1) * SECOND
    report, _ = batch(trip, user, fixes, SharingChoice(), EventId(uuid7()), now=now)
    return report


def an_outcome(report: Report) -> Accepted:
    """The outcome of a report in which each point has its requested privacy."""
    owner = Owner(report.user_id, NOON, None, False, None)
    places = ArrivalState(PORTO, None, False, False)
    member = Member(owner, "Ana", "", "ana", None)
    return Accepted(member, False, places, report.jumps, [point.privacy for point in report.points], False)


def test_a_record_holds_the_visible_points_only() -> None:
    report = a_report(TRIP, ANA, PORTO, FAR)
    carried = record_of(report, replace(an_outcome(report), jumps=frozenset({1})))
    assert unpack_record(pack_record(carried)) == carried
    assert [(point.latitude, point.is_jump) for point in carried.points] == [(41.15, False), (40.2, True)]
    mixed = replace(an_outcome(report), stored_under=[Privacy.HIDDEN, Privacy.APPROXIMATE])
    assert [point.latitude for point in record_of(report, mixed).points] == [40.2]


@pytest.mark.parametrize("text", ["", "{}", "no json", "[]", '{"trip_id": 1}', "\ud800"])
def test_an_invalid_record_is_refused(text: str) -> None:
    with pytest.raises(NotALocationRecord):
        unpack_record(text)


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def by_kinesis(texts: Sequence[bytes]) -> dict[str, Any]:
    return {
        "Records": [
            {"kinesis": {"data": base64.b64encode(text).decode(), "sequenceNumber": f"s{n}"}}
            for n, text in enumerate(texts)
        ]
    }  # fmt: skip


def by_queue(texts: Sequence[bytes]) -> dict[str, Any]:
    records = [{"messageId": f"s{n}", "body": text.decode(errors="replace")} for n, text in enumerate(texts)]
    return {"Records": records}


class RecordingPositions:
    """`StreamedPositions` that records, or is unavailable if `out`."""

    def __init__(self, *, out: bool = False) -> None:
        self.records: list[LocationRecord] = []
        self._out = out

    async def store(self, carried: Sequence[LocationRecord]) -> Sequence[tuple[TripId, Accepted]]:
        if self._out:
            raise Unavailable
        self.records += carried
        return []


@pytest.mark.parametrize("event_of", [by_kinesis, by_queue])
def test_an_invalid_record_fails_alone(event_of: Any) -> None:
    report = a_report(TRIP, ANA, PORTO)
    good = pack_record(record_of(report, an_outcome(report))).encode()
    positions = RecordingPositions()
    handler = stream_entry(consume_records, lambda _: fake_ports(streamed_positions=positions), ())
    assert handler(event_of([good, b"\xff\xfe", good, b"{}"]), Context()) == {
        "batchItemFailures": [{"itemIdentifier": "s1"}, {"itemIdentifier": "s3"}]
    }
    assert len(positions.records) == 2


@pytest.mark.parametrize("event_of", [by_kinesis, by_queue])
def test_an_outage_fails_the_whole_batch(event_of: Any) -> None:
    report = a_report(TRIP, ANA, PORTO)
    good = pack_record(record_of(report, an_outcome(report))).encode()
    handler = stream_entry(
        consume_records, lambda _: fake_ports(streamed_positions=RecordingPositions(out=True)), ()
    )
    failed = handler(event_of([good, good]), Context())["batchItemFailures"]
    assert [one["itemIdentifier"] for one in failed] == ["s0", "s1"]


def test_a_bug_fails_its_record_in_a_queue_and_its_batch_in_a_stream() -> None:
    done: list[str] = []

    async def work(texts: Sequence[str], _ports: Ports) -> Collection[int]:
        if "poison" in texts:
            raise ValueError("poison")
        done.extend(texts)
        return ()

    handler = stream_entry(work, lambda _: fake_ports(), ())
    batch_ = [b"one", b"poison", b"two"]
    assert handler(by_queue(batch_), Context()) == {"batchItemFailures": [{"itemIdentifier": "s1"}]}
    assert done == ["one", "two"]
    # Lambda bisects the batch of a stream until only the record is left.
    with pytest.raises(ValueError, match="poison"):
        handler(by_kinesis(batch_), Context())

"""Scheduled backups: when they are due, which are kept, and what a failure does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nomadcrew.hosts.machine.backup.schedule import ScheduledBackups
from nomadcrew.hosts.machine.errors import StartupError
from tests.fakes import SetClock

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class Enough(Exception):
    """Ends the loop."""


class Bench:
    """A schedule with a set clock, whose sleeps move the clock, up to a number of them."""

    def __init__(self, folder: Path, *, keep: int = 2, sleeps: int = 5) -> None:
        self.clock = SetClock(NOON)
        self.made: list[str] = []
        self.slept_s: list[float] = []
        self.failures = 0
        self._sleeps = sleeps
        self.schedule = ScheduledBackups(
            folder, self._make, every=DAY, keep=keep, clock=self.clock, sleep=self._sleep
        )

    async def _make(self, target: Path) -> None:
        if self.failures:
            self.failures -= 1
            raise StartupError("The disk is full.")
        target.write_bytes(b"tar")
        self.made.append(target.name)

    async def _sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if len(self.slept_s) == self._sleeps:
            raise Enough
        self.clock.advance(seconds)

    async def run(self) -> None:
        with pytest.raises(Enough):
            await self.schedule.run()


async def test_a_backup_is_written_every_day_and_the_newest_are_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.tar").write_bytes(b"not ours")
    bench = Bench(tmp_path / "new" / "folder", sleeps=4)
    await bench.run()
    assert bench.made == [f"nomadcrew-2026{day}T120000Z.tar" for day in ("1130", "1201", "1202", "1203")]
    assert bench.slept_s == [DAY.total_seconds()] * 4
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == bench.made[-2:]


async def test_a_start_waits_for_the_age_of_the_newest_backup(tmp_path: Path) -> None:
    (tmp_path / "nomadcrew-20261130T060000Z.tar").write_bytes(b"tar")
    bench = Bench(tmp_path, sleeps=2)
    await bench.run()
    assert bench.slept_s[0] == 18 * 3600
    assert bench.made == ["nomadcrew-20261201T060000Z.tar"]


async def test_backups_of_the_future_neither_delay_one_nor_take_its_place(tmp_path: Path) -> None:
    names = ("nomadcrew-20301130T060000Z.tar", "nomadcrew-20301201T060000Z.tar", "nomadcrew-20269999T999999Z.tar")
    for name in names:
        (tmp_path / name).write_bytes(b"tar")
    bench = Bench(tmp_path, keep=1, sleeps=1)
    await bench.run()
    assert bench.made == ["nomadcrew-20261130T120000Z.tar"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, *bench.made])


async def test_a_failed_backup_is_tried_again_in_ten_minutes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, sleeps=3)
    bench.failures = 2
    await bench.run()
    assert bench.slept_s == [600.0, 600.0, DAY.total_seconds()]
    assert bench.made == ["nomadcrew-20261130T122000Z.tar"]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "backup failed"), ("WARNING", "backup failed"),
    ]  # fmt: skip


async def test_a_folder_that_cannot_be_used_is_a_failed_backup(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    bench = Bench(tmp_path / "file", sleeps=1)
    await bench.run()
    assert (bench.slept_s, bench.made) == ([600.0], [])


async def test_other_files_stay_and_leftovers_of_a_killed_backup_go(tmp_path: Path) -> None:
    names = ("nomadcrew-2026-11-22.tar", "notes.txt", ".nomadcrew-20261129T120000Z.tar.0123abcd.part")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    bench = Bench(tmp_path, keep=1, sleeps=2)
    await bench.run()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[:2], bench.made[-1]])

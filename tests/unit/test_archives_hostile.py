"""Hostile archives are refused before they cost memory."""

import io
import json
import stat
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from nomadcrew.core.archives.contents import items_of
from nomadcrew.core.archives.errors import ArchiveTooLarge, BadArchive, UnknownVersion
from nomadcrew.core.archives.json_items import json_items
from nomadcrew.core.archives.limits import (
    MAX_ARCHIVE_BYTES,
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_ITEM_BYTES,
    MAX_JSON_BYTES,
    MAX_PEOPLE,
)
from nomadcrew.core.archives.survey import survey
from nomadcrew.core.archives.unpacking import Unpacking
from nomadcrew.core.documents.model import QuotaExceeded
from nomadcrew.core.errors import DomainError
from nomadcrew.web.file_types import file_kind
from tests.archives import PERSON, TRIP, a_message, zipped
from tests.sample_files import PDF

MAX_MEMORY_BYTES = 64 * 2**20
NAME = "documents/00000000-0000-0000-0000-000000000009.pdf"


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if the block holds more than `MAX_MEMORY_BYTES` at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
    finally:
        tracemalloc.stop()


def read(archive: bytes, size_bytes: int | None = None) -> None:
    file = io.BytesIO(archive)
    with little_memory():
        survey(Unpacking(file, len(archive) if size_bytes is None else size_bytes), detect=file_kind)


def refused(archive: bytes, kind: type[DomainError] = BadArchive) -> DomainError:
    with pytest.raises(kind) as caught:
        read(archive)
    return caught.value


def with_entry(name: str, data: bytes = b"x", change: Callable[[zipfile.ZipInfo], None] = lambda _: None) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trip.json", json.dumps(TRIP))
        info = zipfile.ZipInfo(name)
        change(info)
        archive.writestr(info, data)
    return target.getvalue()


def patched(archive: bytes, old: bytes, new: bytes) -> bytes:
    assert old in archive
    return archive.replace(old, new)


class Zeros:
    """So many bytes that pack to almost nothing."""

    def __init__(self, size: int, value: bytes = b"\0") -> None:
        self.left, self.value = size, value

    def read(self, size: int = -1) -> bytes:
        part = min(self.left, size if size >= 0 else self.left)
        self.left -= part
        return self.value * part


def bomb(name: str, size: int, value: bytes = b" ") -> bytes:
    """An archive whose entry unpacks to `size` bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        if name != "trip.json":
            archive.writestr("trip.json", json.dumps(TRIP))
        with archive.open(name, "w") as entry:
            source = Zeros(size, value)
            while piece := source.read(1 << 20):
                entry.write(piece)
    return target.getvalue()


def test_a_small_archive_is_read() -> None:
    read(zipped(TRIP))


@pytest.mark.parametrize("name", ["trip.json", NAME, "photos/1.jpg"])
def test_a_bomb_is_refused(name: str) -> None:
    size = MAX_JSON_BYTES - 1 if name == "trip.json" else 10 * 2**20
    refused(bomb(name, size), ArchiveTooLarge)


def test_many_entries_that_unpack_to_too_much_together_are_refused() -> None:
    target = io.BytesIO()
    part = zlib.compress(bytes(100), 9) * 5 + bytes(range(256)) * 3900  # packs to little, but not to a bomb
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trip.json", json.dumps(TRIP))
        for n in range(300):
            archive.writestr(f"documents/{n}.pdf", part)
    refused(target.getvalue(), ArchiveTooLarge)


def test_json_of_a_gigabyte_is_refused() -> None:
    refused(bomb("trip.json", 2**30), ArchiveTooLarge)


@pytest.mark.parametrize(
    "name",
    ["../trip.json", "a/../../b", "/etc/passwd", "..", "C:\\x", "c:/x", "a\\..\\b", "documents/../../x.pdf"],
)
def test_names_that_lead_out_of_the_archive_are_refused(name: str) -> None:
    assert "leads out" in str(refused(with_entry(name)).details)


def test_a_symbolic_link_is_refused() -> None:
    def link(info: zipfile.ZipInfo) -> None:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert "neither a file" in str(refused(with_entry(NAME, b"/etc/passwd", link)).details)


def test_two_entries_of_one_name_are_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("trip.json", json.dumps(TRIP))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("trip.json", json.dumps(TRIP))
    assert "one name" in str(refused(target.getvalue()).details)


def test_a_million_entries_are_refused() -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    for count in (MAX_ENTRIES + 1, 1_000_000):
        directory = entry * count
        # The end tells the truth, or a number that fits.
        for told in (min(count, 0xFFFF), 5):
            end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, told, told, len(directory), 0, 0)
            refused(directory + end, DomainError)


def test_an_entry_with_a_wrong_crc_is_refused() -> None:
    archive = with_entry("documents/x.txt")
    read(archive)  # an entry that no item names is never unpacked
    trip = json.dumps(TRIP)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as stored:
        stored.writestr("trip.json", trip)
    assert "damaged" in str(refused(patched(target.getvalue(), b"Porto", b"Lagos")).details)


def test_an_encrypted_entry_is_refused() -> None:
    archive = bytearray(zipped(TRIP))
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in str(refused(bytes(archive)).details)


def test_another_method_than_deflate_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("trip.json", json.dumps(TRIP))
    assert "another method" in str(refused(target.getvalue()).details)


def test_zip64_is_refused() -> None:
    archive = zipped(TRIP)
    end = archive.rindex(b"PK\x05\x06")
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 2**40, 1)
    assert "ZIP64" in str(refused(archive[:end] + locator + archive[end:]).details)


def test_an_archive_of_several_parts_is_refused() -> None:
    one_of_two = patched(zipped(TRIP), b"PK\x05\x06\0\0", b"PK\x05\x06\1\0")
    assert "several parts" in str(refused(one_of_two).details)


def test_a_size_of_zip64_in_an_entry_is_refused() -> None:
    archive = zipped(TRIP)
    start = archive.index(b"PK\x01\x02")
    head, name = bytearray(archive[start : start + 46]), archive[start + 46 : start + 46 + 9]
    extra = struct.pack("<HHQQ", 1, 16, 2**50, 2**50)
    head[20:28] = b"\xff" * 8
    head[30:32] = struct.pack("<H", len(extra))
    directory = bytes(head) + name + extra
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), start, 0)
    refused(archive[:start] + directory + end, ArchiveTooLarge)


def test_an_entry_that_is_larger_than_its_directory_says_is_refused() -> None:
    big = b"{" + b" " * 50_000 + json.dumps(TRIP).encode()[1:]
    archive = bytearray(zipped(big))
    start = archive.index(b"PK\x01\x02")
    archive[start + 24 : start + 28] = struct.pack("<L", 100)
    refused(bytes(archive))


@pytest.mark.parametrize(
    "archive",
    [b"", b"PK", b"not a zip" * 100, zipped(TRIP)[:-1], zipped(TRIP) + b"x", zipped(TRIP)[:50]],
    ids=["empty", "short", "text", "cut", "longer", "beginning"],
)
def test_other_files_are_refused(archive: bytes) -> None:
    refused(archive)


def test_an_archive_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(ArchiveTooLarge):
        read(b"", MAX_ARCHIVE_BYTES + 1)


def test_an_archive_without_a_trip_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("other.json", "{}")
    assert refused(target.getvalue()).details == "trip.json: missing"


@pytest.mark.parametrize("where", ["trip", "unknown", "todos"])
def test_deep_json_is_refused(where: str) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    text = json.dumps({**TRIP, "last": 1}).encode().replace(b'"last": 1', b'"%b": %b' % (where.encode(), deep))
    assert "nested" in str(refused(zipped(text)).details)


def test_an_item_above_its_limit_is_refused() -> None:
    for text in (b'"' + b"a" * (MAX_ITEM_BYTES + 1) + b'"', b"[" + b"[1]," * (MAX_ITEM_BYTES // 2) + b"1]"):
        source = io.BytesIO(b'{"x": {"y":' + text + b"}}")
        with little_memory(), pytest.raises(ArchiveTooLarge):
            list(json_items(source))


@pytest.mark.parametrize("piece", [b'"",', b"[],", b"[[]],", b"[[[]]],", b'{"":[{}]},'])
def test_the_worst_json_takes_the_memory_of_an_item_and_seconds(piece: bytes) -> None:
    item = b"[" + piece * (2**20 // len(piece)) + b"1],"
    source = io.BytesIO(b'{"x":[' + item * 4 + b"1]}")
    started_s = time.process_time()
    assert sum(1 for _ in json_items(source)) == 5
    assert time.process_time() - started_s < 4 * 2  # some 0.3 s per MiB on a slow machine
    source.seek(0)
    with little_memory():
        assert next(json_items(source))[0] == "x"


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"1", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,}', b'{"a":1 "b":2}', b'{"a":[1,]}',
     b'{"a":[1 2]}', b'{a:1}', b'{"a":1}x', b'{"a":"x', b'{"a":{"b":1', b'{"a":}', b'{"a":[}', b'{"\\ud800":1}'],
)  # fmt: skip
def test_text_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(BadArchive):
        list(json_items(io.BytesIO(text)))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 65_536])
def test_items_are_found_wherever_the_text_is_cut(step: int) -> None:
    text = b' {"a" : 1,"b":[ "]\\"}", {"c":[1,{"d":2}]} ,true,[] ] , "e":[],"f":{}, "g":-1.5e3}\n '

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(step, size or step))

    assert list(json_items(Slow(text))) == [
        ("a", b"1"), ("b", b'"]\\"}"'), ("b", b'{"c":[1,{"d":2}]}'), ("b", b"true"), ("b", b"[]"), ("f", b"{}"),
        ("g", b"-1.5e3"),
    ]  # fmt: skip


def test_an_empty_object_has_no_items() -> None:
    assert list(json_items(io.BytesIO(b" { } "))) == []


def test_a_directory_that_is_not_there_is_refused() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 0, 0)
    refused(b"x" * 46 + end)
    refused(end)


def test_a_depth_at_the_limit_is_read() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert list(json_items(io.BytesIO(b'{"a":{"b":1},"c":[%b]}' % deep)))[1] == ("c", deep)


def test_another_version_is_refused_before_its_items() -> None:
    refused(zipped({**TRIP, "version": 2}), UnknownVersion)
    refused(zipped({"trip": 1, **TRIP}))
    refused(zipped({**TRIP, "format": "other"}))
    refused(zipped({"format": "nomadcrew-trip"}), UnknownVersion)
    refused(zipped({**TRIP, "version": {"a": 1}}))


def test_too_many_people_are_refused() -> None:
    people = [{**PERSON, "id": f"00000000-0000-0000-0000-{n:012x}"} for n in range(MAX_PEOPLE + 2)]
    refused(zipped({**TRIP, "people": people}), ArchiveTooLarge)


def test_documents_above_the_quota_are_refused() -> None:
    documents = [
        {"id": f"00000000-0000-0000-0000-{n:012x}", "type": "other", "name": "x", "mediaType": "application/pdf",
         "sizeBytes": 10 * 2**20, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"}
        for n in range(51)
    ]  # fmt: skip
    refused(zipped({**TRIP, "documents": documents}), QuotaExceeded)


def test_a_file_that_is_not_the_one_described_is_refused() -> None:
    document = {
        "id": "00000000-0000-0000-0000-000000000009", "type": "other", "name": "x", "mediaType": "application/pdf",
        "sizeBytes": len(PDF), "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        "file": NAME,
    }  # fmt: skip
    trip = {**TRIP, "documents": [document]}
    read(zipped(trip, **{NAME: PDF}))
    large = PDF + bytes(10_000)
    read(zipped({**TRIP, "documents": [document | {"sizeBytes": len(large)}]}, **{NAME: large}))
    for content in (PDF + b"x", b"%" * len(PDF)):
        assert "not the file" in str(refused(zipped(trip, **{NAME: content})).details)
    assert "missing" in str(refused(zipped(trip)).details)
    assert "`file` must be" in str(
        refused(zipped({**TRIP, "documents": [document | {"file": "trip.json"}]})).details
    )


@pytest.mark.parametrize(
    ("text", "is_accepted"), [("a\\u0000b", False), ("a\\\\u0000b", True), ("a\\\\\\u0000b", False)]
)
def test_a_nul_in_a_text_is_refused(text: str, *, is_accepted: bool) -> None:
    body = json.dumps({**TRIP, "messages": [a_message(1, "TEXT")], "people": [PERSON]}).replace("TEXT", text)
    source = io.BytesIO(body.encode())
    if is_accepted:
        assert len(list(items_of(source))) == 3
    else:
        with pytest.raises(BadArchive, match="damaged"):
            list(items_of(source))

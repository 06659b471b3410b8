"""Every kind of log is known by what it holds: IMA templates, TXT heaps and containers, old firmware."""

from __future__ import annotations

import hashlib
import re

import pytest

from vafw.attest.logs.heap import log_of_heap
from vafw.attest.logs.ima import read_ima
from vafw.attest.logs.model import LogKind
from vafw.attest.logs.old import CONTAINER
from vafw.attest.logs.read import read_log
from vafw.hw.txt import heap
from vafw.tcg import SHA1, SHA256, Event, EventType, encode_log
from vafw.tcg.algorithms import extended, hash_sequence_value
from vafw.wire import FormatError

NAME = b"/usr/bin/true\0"


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def sized(content: bytes) -> bytes:
    return u32(len(content)) + content


def ima_entry(template: bytes, data: bytes, *, digest: bytes | None = None, pcr: int = 10) -> bytes:
    return u32(pcr) + (sha1(data) if digest is None else digest) + sized(template) + sized(data)


NG = sized(b"sha256:\0" + bytes(range(32))) + sized(NAME)


@pytest.mark.parametrize(
    ("template", "data", "summary"),
    [
        (b"ima-ng", NG, f"/usr/bin/true  sha256:{bytes(range(32)).hex()}"),
        (b"ima-sig", NG + sized(b"\3\2"), f"/usr/bin/true  sha256:{bytes(range(32)).hex()}"),
        (
            b"ima-ngv2",
            sized(b"verity:sha256:\0" + bytes(32)) + sized(NAME),
            f"/usr/bin/true  verity:sha256:{'00' * 32}",
        ),
        (b"ima-buf", NG + sized(b"policy"), f"/usr/bin/true  sha256:{bytes(range(32)).hex()}"),
    ],
)
def test_each_template_is_decoded_and_extended_in_every_bank(template: bytes, data: bytes, summary: str) -> None:
    log = read_ima(ima_entry(template, data))
    assert (log.entries[0].name, log.entries[0].description.summary) == (template.decode(), summary)
    assert log.replayed()[SHA256][10] == extended(SHA256, bytes(32), hashlib.sha256(data).digest())
    assert log.lies == ()


def test_the_oldest_template_is_hashed_with_its_name_filled_up() -> None:
    file = bytes(range(20))
    entry = u32(10) + sha1(file + NAME.ljust(256, b"\0")) + sized(b"ima") + file + sized(NAME)
    log = read_log(entry)
    assert (log.kind, log.lies) == (LogKind.IMA, ())
    assert log.entries[0].description.summary == f"/usr/bin/true  sha1:{file.hex()}"


def test_a_violation_is_extended_as_ones_and_said() -> None:
    log = read_ima(ima_entry(b"ima-ng", NG, digest=bytes(20)))
    assert log.replayed()[SHA1][10] == extended(SHA1, bytes(20), b"\xff" * 20)
    assert log.entries[0].description.summary.endswith("violation: it was written while it was measured")


@pytest.mark.parametrize(
    ("entry", "lie"),
    [
        (ima_entry(b"ima-ng", NG, digest=b"\1" * 20), "the digest is not that of the data"),
        (ima_entry(b"ima-ng", NG + b"x"), "the data is not what the template ima-ng holds: IMA list, byte 62: "
         "nothing may follow the structure, and 1 B do"),
        (ima_entry(b"ima-ng", sized(b"sha256") + sized(NAME)), "the data is not what the template ima-ng holds: "
         "IMA list: a digest must begin with its algorithm, not b'sha256'"),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_hold_together_is_a_lie(entry: bytes, lie: str) -> None:
    assert [told for _, told in read_ima(entry).lies] == [lie]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ima_entry(b"ima-ng", NG, pcr=24), "IMA list, byte 0: the PCR of an entry must be 0 to 23, not 24"),
        (ima_entry(b"ima-ng", NG)[:-1], "IMA list, byte 38: the data of an entry must have 62 bytes, and 61 are left"),
        (u32(10) + bytes(20) + u32(0), "IMA list, byte 24: a template's name must have 1 to 256 bytes, not 0"),
        (
            u32(10) + bytes(20) + sized(b"ima-ng") + u32(1 << 30),
            "IMA list, byte 34: the data of an entry must have at most 1048576 bytes, not 1073741824",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"^{re.escape(message)}$"):
        read_ima(data)


START = Event(17, EventType.TXT_HASH_START, {SHA256: hash_sequence_value(SHA256, bytes(36))}, bytes(36))
LOG = encode_log([START, Event(18, EventType.TXT_MLE_HASH, {SHA256: bytes(32)})], (SHA256,))
BASE = 0xBAF2_0000


def dump(log: bytes = LOG, *, following: int | None = None, size: int = 0x2000) -> bytes:
    """A TXT heap as our own chipset model lays it out, log and all."""
    bios, os_mle = heap.BiosData(0, 4).encode(), log.ljust(size, b"\0")
    address = BASE + heap.Heap(bios, os_mle).event_log_at
    pointer = heap.EventLogPointer(address, size, 0, len(log) if following is None else following)
    os_sinit = heap.OsSinitData(0, 0, 0, 0, 0, 0, 0, 0, pointer).encode()
    return b"".join((len(each) + 8).to_bytes(8, "little") + each for each in (bios, os_mle, os_sinit))


def test_the_log_of_a_heap_is_found_with_and_without_the_base() -> None:
    assert log_of_heap(dump(), BASE) == log_of_heap(dump()) == LOG
    log = read_log(dump())
    assert (log.kind, log.notes) == (LogKind.LAUNCH, (f"{len(LOG)} bytes out of a TXT heap",))
    assert log.replayed()[SHA256][18] == extended(SHA256, bytes(32), bytes(32))


@pytest.mark.parametrize(
    ("data", "base", "message"),
    [
        (dump(following=0x9000), None, "TXT heap: the log must lie within its 8192 bytes, not from 0 to 36864"),
        (dump(), BASE + 0x10000, "must lie in one place of the dump, not in 0: give its base"),
        (dump(LOG + LOG), None, "must lie in one place of the dump, not in 2: give its base"),
        (dump()[:50], None, "TXT heap, byte 8: the BIOS data must have 44 bytes, and 42 are left"),
    ],
)
def test_a_heap_whose_pointer_leads_nowhere_is_refused(data: bytes, base: int | None, message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)):
        log_of_heap(data, base)


def old_event(pcr: int, event_type: int, data: bytes) -> bytes:
    return u32(pcr) + u32(event_type) + sha1(data) + sized(data)


def test_an_old_log_is_read_bare_and_in_its_container() -> None:
    events = old_event(17, EventType.TXT_HASH_START, b"x") + old_event(17, EventType.TXT_MLE_HASH, b"y")
    head = CONTAINER + bytes(12) + bytes((1, 0, 1, 0))
    size = len(head) + 12
    contained = head + u32(4096) + u32(size) + u32(size + len(events)) + events + bytes(64)
    for data in (events, contained):
        log = read_log(data)
        assert (log.kind, len(log.entries)) == (LogKind.OLD_FIRMWARE, 2)
        assert log.replayed()[SHA1][17] == extended(SHA1, sha1(b"x"), sha1(b"y"))


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ((4096, 48, 9000), "events must lie within the container: 48 to 9000 of 60 bytes"),
        ((4096, 0, 50), "events must lie within the container: 0 to 50 of 60 bytes"),
    ],
)
def test_a_container_that_points_outside_is_refused(offsets: tuple[int, int, int], message: str) -> None:
    data = CONTAINER + bytes(12) + bytes((1, 0, 1, 0)) + b"".join(map(u32, offsets))
    with pytest.raises(FormatError, match=re.escape(message)):
        read_log(data.ljust(60, b"\0"))


def test_marks_of_the_linux_stub_are_no_measurements() -> None:
    marks = [Event(17, each, {SHA256: bytes(32)}, b"\0") for each in (0x503, 0x502, 0x504)]
    log = read_log(encode_log([START, *marks], (SHA256,)))
    assert [entry.name for entry in log.entries] == ["HASH_START", "SLAUNCH_START", "SLAUNCH", "SLAUNCH_END"]
    assert log.replayed()[SHA256][17] == extended(SHA256, START.digests[SHA256], bytes(32))

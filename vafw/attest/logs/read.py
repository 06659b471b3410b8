"""Reading a log of whatever kind: what it is shows in its first bytes, and is never a matter of the file's name."""

from __future__ import annotations

from typing import Final

from vafw.attest.logs.describe import entries
from vafw.attest.logs.heap import log_of_heap, looks_like_heap
from vafw.attest.logs.ima import read_ima
from vafw.attest.logs.model import LogKind, MeasuredLog
from vafw.attest.logs.old import CONTAINER, read_old
from vafw.tcg.algorithms import SHA1
from vafw.tcg.eventlog import decode_log_with_header
from vafw.tcg.events import EventType
from vafw.wire import FormatError

STRUCTURE: Final = "log"
_SIGNATURE_AT: Final = 32
_SIGNATURE: Final = b"Spec ID Event"
_IMA_PCR_AND_DIGEST: Final = 24


def read_log(data: bytes, *, heap_base: int | None = None) -> MeasuredLog:
    """Any log: of firmware, of a launch, of IMA, or in a TXT heap; FormatError names the byte that is wrong."""
    if not data:
        raise FormatError(STRUCTURE, "it must hold something, and is empty")
    if data[_SIGNATURE_AT:].startswith(_SIGNATURE):
        return _crypto_agile(data, ())
    if data.startswith(CONTAINER):
        return _old(data, ("out of a container of a TXT heap",))
    if _looks_like_ima(data):
        return read_ima(data)
    if looks_like_heap(data):
        log = log_of_heap(data, heap_base)
        return _crypto_agile(log, (f"{len(log)} bytes out of a TXT heap",))
    return _old(data, ())


def _crypto_agile(data: bytes, notes: tuple[str, ...]) -> MeasuredLog:
    header, events = decode_log_with_header(data)
    launched = any(event.event_type == EventType.TXT_HASH_START for event in events)
    return MeasuredLog(LogKind.LAUNCH if launched else LogKind.FIRMWARE, entries(events), tuple(header.sizes), notes)


def _old(data: bytes, notes: tuple[str, ...]) -> MeasuredLog:
    return MeasuredLog(LogKind.OLD_FIRMWARE, entries(read_old(data)), (SHA1,), notes)


def _looks_like_ima(data: bytes) -> bool:
    """Whether a template's name of printable characters follows PCR and digest."""
    size = int.from_bytes(data[_IMA_PCR_AND_DIGEST : _IMA_PCR_AND_DIGEST + 4], "little")
    name = data[_IMA_PCR_AND_DIGEST + 4 : _IMA_PCR_AND_DIGEST + 4 + size]
    return 2 < size <= 32 and len(name) == size and name.replace(b"-", b"").isalnum() and name[:1].isalpha()

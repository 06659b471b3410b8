"""Logs of TPM 1.2 form: one SHA-1 digest an event and no header, as legacy firmware and TXT on TPM 1.2 wrote them.

TCG PC Client Specific Implementation Specification for Conventional BIOS, "TCG_PCR_EVENT"; little-endian. Nothing in
such a log says that it is one, so it is read only where the bytes are no other kind.
"""

from __future__ import annotations

from typing import Final

from vafw.tcg.algorithms import SHA1
from vafw.tcg.eventlog import PCR_COUNT, Event
from vafw.tcg.events import Replay, replay_of
from vafw.wire import Reader

STRUCTURE: Final = "event log (SHA-1)"
CONTAINER: Final = b"TXT Event Container\0"
"""What TXT puts before such a log in its heap ("event_log_container_t")."""
_CONTAINER_VERSIONS: Final = bytes((1, 0, 1, 0))


def read_old(data: bytes) -> tuple[Event, ...]:
    """The events in order; FormatError names the byte that is wrong."""
    reader = Reader(_inside(data) if data.startswith(CONTAINER) else data, STRUCTURE, "little")
    events = []
    while reader.remaining:
        start = reader.offset
        pcr, event_type = reader.u32("the PCR of an event"), reader.u32("the type of an event")
        if pcr >= PCR_COUNT and replay_of(event_type) is not Replay.NOTHING:
            raise reader.error(f"the PCR of an event must be 0 to {PCR_COUNT - 1}, not {pcr}", at=start)
        digest = reader.take(20, "the digest of an event")
        content = reader.take(reader.u32("the size of an event's data"), "an event's data")
        events.append(Event(pcr, event_type, {SHA1: digest}, content))
    return tuple(events)


def _inside(data: bytes) -> bytes:
    """What a container holds between its first and its next offset."""
    reader = Reader(data, STRUCTURE, "little")
    reader.take(len(CONTAINER) + 12, "the signature")
    start = reader.offset
    if (versions := reader.take(4, "the versions")) != _CONTAINER_VERSIONS:
        raise reader.error(
            f"the container must have version 1.0 with events of version 1.0, not {versions.hex()}", at=start
        )
    size, first, following = (reader.u32(what) for what in ("the size", "the first event", "the next event"))
    if not reader.offset <= first <= following <= min(size, len(data)):
        raise reader.error(f"events must lie within the container: {first} to {following} of {len(data)} bytes")
    return data[first:following]

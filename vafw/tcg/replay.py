"""Replaying a log: the PCR values that a TPM must hold if the log tells everything that was measured.

Where a PCR starts is half of the answer (TCG PC Client Platform TPM Profile, "PCR Initial and Reset Values"):

    PCR 0         zero, or the locality of TPM2_Startup in its last byte, which an EV_NO_ACTION event tells
    PCR 1 to 16   zero
    PCR 17 to 22  ones until a dynamic launch: its HASH_START turns them to zeros, and gives PCR 17 its value
    PCR 23        zero

So a log that extends PCR 18 without a launch replays to a value that no launched machine has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vafw.tcg.algorithms import DIGEST_SIZES, computable, extended
from vafw.tcg.eventlog import PCR_COUNT, STRUCTURE, Event
from vafw.tcg.events import EventType, Replay, replay_of
from vafw.wire import FormatError

_DYNAMIC: Final = range(17, 23)
_STARTUP_LOCALITY: Final = b"StartupLocality\0"


def replay(events: Iterable[Event]) -> dict[int, dict[int, bytes]]:
    """PCR values by algorithm and index, for every PCR that an event touches; FormatError for an event of no PCR."""
    banks: dict[int, dict[int, bytes]] = {}
    launched, locality = False, 0
    for event in events:
        effect = replay_of(event.event_type)
        if effect is Replay.NOTHING:
            locality = startup_locality(event) or locality
            continue
        if not 0 <= event.pcr < PCR_COUNT:
            raise FormatError(STRUCTURE, f"the PCR of an event must be 0 to {PCR_COUNT - 1}, not {event.pcr}")
        if effect is Replay.LOADS:
            launched = True
            for bank in banks.values():
                bank.update({pcr: bytes(len(value)) for pcr, value in bank.items() if pcr in _DYNAMIC})
        for algorithm, value in event.digests.items():
            if computable(algorithm):
                bank = banks.setdefault(algorithm, {})
                before = bank.get(event.pcr) or start_of(event.pcr, algorithm, launched=launched, locality=locality)
                bank[event.pcr] = value if effect is Replay.LOADS else extended(algorithm, before, value)
    return banks


def start_of(pcr: int, algorithm: int, *, launched: bool, locality: int = 0) -> bytes:
    """What a PCR holds before anything is extended."""
    size = DIGEST_SIZES[algorithm]
    if pcr in _DYNAMIC and not launched:
        return b"\xff" * size
    return (locality if pcr == 0 else 0).to_bytes(size, "big")


def startup_locality(event: Event) -> int:
    """The locality that TPM2_Startup came from, as an EV_NO_ACTION event tells; 0 for any other event."""
    tells = event.event_type == EventType.EV_NO_ACTION and event.data[:-1] == _STARTUP_LOCALITY
    return event.data[-1] if tells else 0

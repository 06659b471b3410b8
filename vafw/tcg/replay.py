"""Replaying a log: the PCR values that a TPM must hold if the log tells everything that was measured.

Only for PCRs of the dynamic launch is the start known to be zero: the hash sequence resets PCR 17 to 22 in every bank
(TCG PC Client Platform TPM Profile, "PCR Initial and Reset Values"). The others start at zero at TPM startup, unless a
startup locality was logged, which no dynamic launch does.
"""

from __future__ import annotations

from collections.abc import Iterable

from vafw.tcg.algorithms import DIGEST_SIZES, computable, extended
from vafw.tcg.eventlog import PCR_COUNT, STRUCTURE, Event
from vafw.tcg.events import Replay, replay_of
from vafw.wire import FormatError


def replay(events: Iterable[Event]) -> dict[int, dict[int, bytes]]:
    """PCR values by algorithm and index, for every PCR that an event touches."""
    banks: dict[int, dict[int, bytes]] = {}
    for event in events:
        effect = replay_of(event.event_type)
        if effect is Replay.NOTHING:
            continue
        if not 0 <= event.pcr < PCR_COUNT:
            raise FormatError(STRUCTURE, f"the PCR of an event must be 0 to {PCR_COUNT - 1}, not {event.pcr}")
        for algorithm, value in event.digests.items():
            if computable(algorithm):
                bank = banks.setdefault(algorithm, {})
                before = bank.get(event.pcr, bytes(DIGEST_SIZES[algorithm]))
                bank[event.pcr] = value if effect is Replay.LOADS else extended(algorithm, before, value)
    return banks

"""Where a log and a PCR part: looking for the one event that, told differently, makes the log true.

A hash says that something differs and never what. So this tries: an event's digest replaced by each accepted value of
its component, then by each value one bit away. If the replay then gives the quoted value, that event's digest was
altered in the log, and what it was is known. If none does, the first event without an accepted value is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vafw.attest.accepted import Acceptance
from vafw.tcg.algorithms import SHA256, algorithm_name
from vafw.tcg.eventlog import Event
from vafw.tcg.events import Replay, replay_of
from vafw.tcg.replay import replay

_MOST_EVENTS: Final = 32
"""With more events in one PCR the search for a single altered bit takes too long to be worth it."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """What is known of the difference."""

    reason: str
    position: int | None
    """Of the event in the log, from 0; None where no event is to blame."""
    expected: str
    found: str


def explain_divergence(
    events: Sequence[Event], bank: int, pcr: int, *, quoted: bytes, replayed: bytes, acceptance: Acceptance
) -> Divergence:
    """Why `pcr` of `bank` holds `quoted` where the log replays to `replayed`."""
    here = [(position, event) for position, event in enumerate(events) if event.pcr == pcr]
    register = f"PCR {pcr} ({algorithm_name(bank)})"
    repaired = _repair(events, here, bank, quoted, acceptance)
    if repaired is not None:
        position, original = repaired
        reason = f"the {algorithm_name(bank)} digest of the event was altered: {register} was extended with another"
        return Divergence(reason, position, original.hex(), events[position].digests[bank].hex())
    for position, event in here:
        accepted = acceptance.event_digests(event) if bank == SHA256 else None
        if accepted is not None and event.digests[bank] not in accepted:
            reason = f"the event log does not give {register}; this is its first event that is no accepted value"
            return Divergence(reason, position, _hex(accepted), event.digests[bank].hex())
    reason = f"the event log does not give {register}: it leaves something out, adds something, or changes the order"
    return Divergence(reason, None, quoted.hex(), replayed.hex())


def _repair(
    events: Sequence[Event],
    here: Sequence[tuple[int, Event]],
    bank: int,
    quoted: bytes,
    acceptance: Acceptance,
) -> tuple[int, bytes] | None:
    launches = [
        event for event in events if replay_of(event.event_type) is Replay.LOADS and event.pcr != here[0][1].pcr
    ]
    history = [event for _, event in here]
    for index, (position, event) in enumerate(here):
        for original in _candidates(event, bank, acceptance, one_bit=len(here) <= _MOST_EVENTS):
            told = Event(event.pcr, event.event_type, {bank: original}, event.data)
            if replay([*launches, *history[:index], told, *history[index + 1 :]])[bank][event.pcr] == quoted:
                return position, original
    return None


def _candidates(event: Event, bank: int, acceptance: Acceptance, *, one_bit: bool) -> Iterator[bytes]:
    if bank == SHA256:
        yield from acceptance.event_digests(event) or ()
    if one_bit:
        logged = int.from_bytes(event.digests[bank], "big")
        size = len(event.digests[bank])
        for bit in range(8 * size):
            yield (logged ^ 1 << bit).to_bytes(size, "big")


def _hex(values: Sequence[bytes]) -> str:
    return " or ".join(value.hex() for value in values) or "nothing: there is no reference value"

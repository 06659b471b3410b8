"""Appraising the event log: can it be read, is it whole, and does it tell what the quoted PCRs hold.

A log is written by whoever wants to be believed. Its digests are believed once they replay to the quoted values; its
data, once the digests were computed over it; its labels, once they are the expected ones. What none of these covers
must have the one form that a launch gives it, so that no bit of a log can be changed without the change being found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from vafw.attest.accepted import NO_CONTROLS, SINIT_DIGEST_BYTES, Acceptance
from vafw.attest.claims import affirmed, refused
from vafw.attest.divergence import explain_divergence
from vafw.attest.evidence import Evidence
from vafw.attest.result import Claim
from vafw.tcg.algorithms import SHA256, algorithm_name, digest, hash_sequence_value
from vafw.tcg.attest import QuoteAttest
from vafw.tcg.eventlog import Event, LogHeader, decode_log_with_header
from vafw.tcg.events import DETAILS_AND_AUTHORITIES, EventType
from vafw.tcg.replay import replay
from vafw.wire import FormatError

MOST_BYTES: Final = 1 << 20
"""A log longer than this is refused unread; a launch writes some kilobytes."""
_HASH_START_BYTES: Final = SINIT_DIGEST_BYTES + len(NO_CONTROLS)
_FORMAT, _EVENTS, _REPLAY = "log-format", "log-events", "log-replay"


def name_event(position: int, event: Event) -> str:
    """How claims name an event: numbered from 1, as the log's own header is record 0."""
    return f"#{position + 1} {event}"


def read_log(evidence: Evidence, quote: QuoteAttest) -> tuple[Claim, tuple[Event, ...]]:
    """Whether the log is of the one form that a launch writes, and carries the banks that the quote covers."""
    if (size := len(evidence.event_log)) > MOST_BYTES:
        return _refused(_FORMAT, f"the event log must have at most {MOST_BYTES} bytes, not {size}"), ()
    try:
        header, events = decode_log_with_header(evidence.event_log)
    except FormatError as error:
        return _refused(_FORMAT, f"the event log cannot be read: {error}"), ()
    quoted = {bank for bank, _ in quote.selection.banks}
    if set(header.sizes) != quoted:
        reason = "the event log must carry the banks that the quote covers: digests of another are anybody's word"
        return _refused(_FORMAT, reason, expected=_names(quoted), found=_names(header.sizes)), ()
    if header != (wanted := LogHeader.of(header.sizes)):
        reason = "the header of the event log is not the one that a launch writes"
        return _refused(_FORMAT, reason, event="#0 header", expected=_describe(wanted), found=_describe(header)), ()
    reason = f"the event log holds {len(events)} events with digests of {_names(header.sizes)}"
    return affirmed(_FORMAT, reason, component="log"), events


def appraise_events(events: Sequence[Event], acceptance: Acceptance) -> Claim:
    """Whether each event is one that a launch writes, there once, with data that its digests cover."""
    for position, event in enumerate(events):
        problem = _known(position, event, acceptance) or _data(position, event) or _label(position, event, acceptance)
        if problem is not None:
            return problem
    if (again := acceptance.profile.repeated(events)) is not None:
        reason = "an event of this type must be in the log once"
        return _refused(_EVENTS, reason, event=name_event(again, events[again]))
    if (absent := acceptance.profile.missing(events)) is not None:
        component, lacking = absent
        return refused(_EVENTS, f"the event log says nothing of {lacking}", component=component, expected=lacking)
    return (
        _hash_start_first(events)
        or _labels_once(events, acceptance)
        or affirmed(_EVENTS, "every event is known, there once, and its digests cover its data", component="log")
    )


def appraise_replay(events: Sequence[Event], quote: QuoteAttest, evidence: Evidence, acceptance: Acceptance) -> Claim:
    """Whether the log, replayed, gives the quoted values of every bank; where not, which PCR and which event."""
    replayed = replay(events)
    reported = {**evidence.further_banks, SHA256: evidence.pcrs}
    for bank, pcrs in quote.selection.banks:
        for pcr in pcrs:
            found = replayed.get(bank, {}).get(pcr)
            if found is None:
                reason = f"the event log never extends PCR {pcr} ({algorithm_name(bank)}), whose value is reported"
                return _refused(_REPLAY, reason, found=reported[bank][pcr].hex())
            if found != reported[bank][pcr]:
                where = explain_divergence(
                    events, bank, pcr, quoted=reported[bank][pcr], replayed=found, acceptance=acceptance
                )
                event = "" if where.position is None else name_event(where.position, events[where.position])
                return _refused(_REPLAY, where.reason, event=event, expected=where.expected, found=where.found)
    return affirmed(_REPLAY, f"the event log replays to the quoted values of {quote.selection}", component="log")


def _known(position: int, event: Event, acceptance: Acceptance) -> Claim | None:
    if acceptance.profile.is_known(event):
        return None
    reason = "the event log holds an event that a launch does not write there"
    return _refused(_EVENTS, reason, event=name_event(position, event), found=f"{event} ({event.event_type:#x})")


def _data(position: int, event: Event) -> Claim | None:
    """A claim where the data is not what the digests were computed over."""
    problem = _data_form(event)
    if problem is not None:
        return _refused(_EVENTS, problem, event=name_event(position, event), found=event.data.hex())
    wanted = _digests_from_data(event)
    wrong = [bank for bank, value in wanted.items() if event.digests[bank] != value]
    if not wrong:
        return None
    where, bank = name_event(position, event), wrong[0]
    if len(wrong) == len(event.digests):
        reason = "the data of the event was altered: its digests were computed over something else"
        return _refused(_EVENTS, reason, event=where, expected=event.digests[bank].hex(), found=wanted[bank].hex())
    reason = f"the {algorithm_name(bank)} digest of the event was altered: its data has another"
    return _refused(_EVENTS, reason, event=where, expected=wanted[bank].hex(), found=event.digests[bank].hex())


def _data_form(event: Event) -> str | None:
    if event.event_type == EventType.TXT_PCR_MAPPING:
        if event.data != DETAILS_AND_AUTHORITIES.to_bytes(4, "little"):
            return f"PCR_MAPPING must be {DETAILS_AND_AUTHORITIES} (details and authorities) in 4 bytes"
    elif event.event_type == EventType.TXT_HASH_START and len(event.data) != _HASH_START_BYTES:
        return f"HASH_START must have {_HASH_START_BYTES} bytes of data, not {len(event.data)}"
    return None


def _digests_from_data(event: Event) -> dict[int, bytes]:
    if event.event_type == EventType.EV_IPL or not event.data:
        return {}
    if event.event_type == EventType.TXT_HASH_START:
        return {bank: hash_sequence_value(bank, event.data) for bank in event.digests}
    return {bank: digest(bank, event.data) for bank in event.digests}


def _label(position: int, event: Event, acceptance: Acceptance) -> Claim | None:
    if event.event_type != EventType.EV_IPL or acceptance.component_of(event) is not None:
        return None
    expectation = acceptance.expectation
    label = event.data.decode("utf-8", "backslashreplace")
    wanted = [expectation.label_of(subject) for subject in expectation.subjects]
    return _refused(
        _EVENTS,
        "the event log speaks of something that is not about to run",
        event=name_event(position, event),
        expected=get_close_matches(label, wanted, n=1, cutoff=0)[0],
        found=label,
    )


def _hash_start_first(events: Sequence[Event]) -> Claim | None:
    details = [(position, event) for position, event in enumerate(events) if event.pcr == 17]
    position, first = details[0]
    if first.event_type == EventType.TXT_HASH_START:
        return None
    reason = "HASH_START must be the first event of PCR 17: it gives the register its value, whatever stood before"
    return _refused(_EVENTS, reason, event=name_event(position, first), expected="PCR 17 HASH_START", found=str(first))


def _labels_once(events: Sequence[Event], acceptance: Acceptance) -> Claim | None:
    seen: set[str] = set()
    for position, event in enumerate(events):
        component = acceptance.component_of(event)
        if component in seen:
            reason = f"the event log must speak of {component} once"
            return _refused(_EVENTS, reason, event=name_event(position, event))
        seen |= {component} if component is not None else set()
    return None


def _refused(name: str, reason: str, *, event: str = "", expected: str = "", found: str = "") -> Claim:
    return refused(name, reason, component="log", event=event, expected=expected, found=found)


def _names(banks: Iterable[int]) -> str:
    return " and ".join(map(algorithm_name, sorted(banks, reverse=True)))


def _describe(header: LogHeader) -> str:
    version = ".".join(map(str, header.version))
    return (
        f"platform class {header.platform_class}, version {version}, UINTN size {header.uintn_size}, "
        f"vendor information {header.vendor.hex() or 'none'}"
    )

"""Accounting for a launch event by event: which component each event speaks of, what was accepted, where PCRs part.

For a person who asks why. Not a judge: the result stands already; this lays the log beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from vafw.attest.accepted import Acceptance
from vafw.attest.evidence import Evidence
from vafw.attest.logs.describe import entries
from vafw.tcg.algorithms import SHA256
from vafw.tcg.eventlog import decode_log
from vafw.tcg.replay import replay
from vafw.trace import Value

ACCEPTED, REFUSED, UNJUDGED = "accepted", "not accepted", "no reference value"


@dataclass(frozen=True, slots=True)
class EventAccount:
    """One event, and what is known of it."""

    position: int
    pcr: int
    name: str
    component: str
    verdict: str
    """One of the three words above."""
    found: str
    expected: str
    says: str

    def to_json(self) -> dict[str, Value]:
        """The account as a JSON object."""
        return {
            "number": self.position,
            "pcr": self.pcr,
            "event": self.name,
            "component": self.component,
            "verdict": self.verdict,
            "found": self.found,
            "expected": self.expected,
            "says": self.says,
        }


@dataclass(frozen=True, slots=True)
class RegisterAccount:
    """One register: what the TPM quoted, and what the log gives."""

    pcr: int
    quoted: bytes
    replayed: bytes | None
    """None where the log never extends it."""

    @property
    def agrees(self) -> bool:
        """Whether the log explains the register."""
        return self.quoted == self.replayed


def account_events(evidence: Evidence, acceptance: Acceptance) -> tuple[EventAccount, ...]:
    """Every event of the log; FormatError where it cannot be read."""
    found = []
    for entry in entries(decode_log(evidence.event_log)):
        event = entry.event
        component, accepted = acceptance.component_of(event), acceptance.event_digests(event)
        value = event.digests.get(SHA256, b"")
        verdict = UNJUDGED if accepted is None else ACCEPTED if value in accepted else REFUSED
        expected = "" if verdict != REFUSED else " or ".join(each.hex() for each in accepted or ()) or "nothing"
        says = "; ".join((entry.description.summary, *entry.lies)) if entry.lies else entry.description.summary
        found.append(
            EventAccount(entry.position, event.pcr, entry.name, component or "", verdict, value.hex(), expected, says)
        )
    return tuple(found)


def account_registers(evidence: Evidence) -> tuple[RegisterAccount, ...]:
    """The quoted SHA-256 registers, each beside what the log gives; FormatError where it cannot be read."""
    replayed = replay(decode_log(evidence.event_log)).get(SHA256, {})
    return tuple(RegisterAccount(pcr, value, replayed.get(pcr)) for pcr, value in sorted(evidence.pcrs.items()))

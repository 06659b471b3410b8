"""Appraising what was measured: each component of the launch against its reference value or against the plan.

Comes last: the events are believed by now. One claim for each component, whatever the others say, so that a person sees
everything that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vafw.attest.accepted import NO_CONTROLS, SINIT_DIGEST_BYTES, Acceptance
from vafw.attest.claims import affirmed, refused, warned
from vafw.attest.log import name_event
from vafw.attest.reference import AcceptedValue
from vafw.attest.result import Claim
from vafw.tcg.algorithms import SHA256
from vafw.tcg.eventlog import Event

_SUBJECTS = {
    "sinit": "the SINIT module",
    "vmm": "the VMM",
    "plan": "the plan",
    "topology": "the topology",
    "policy": "the policy",
}


def appraise_components(events: Sequence[Event], acceptance: Acceptance, now: datetime) -> tuple[Claim, ...]:
    """A claim for each component that must have been measured, in the order of the launch; `now` is in UTC."""
    return tuple(_appraise(component, events, acceptance, now) for component in acceptance.components)


def measured_plan(events: Sequence[Event], acceptance: Acceptance) -> bytes:
    """SHA-256 of the plan that the VMM extended; empty where it extended none."""
    found = _find("plan", events, acceptance)
    return b"" if found is None else found[1].digests[SHA256]


def _appraise(component: str, events: Sequence[Event], acceptance: Acceptance, now: datetime) -> Claim:
    subject = _SUBJECTS.get(component, component)
    accepted = acceptance.measurements(component)
    expected = " or ".join(value.hex() for value in accepted)
    measured = _find(component, events, acceptance)
    if measured is None:
        reason = f"the event log says nothing of {subject}: it was not measured"
        return refused(component, reason, component=component, expected=expected)
    position, event = measured
    where = name_event(position, event)
    found = event.digests[SHA256]
    if component == "sinit":
        found, controls = event.data[:SINIT_DIGEST_BYTES], event.data[SINIT_DIGEST_BYTES:]
        if controls != NO_CONTROLS:
            reason = "GETSEC[SENTER] was executed with control bits that nobody defined (EDX)"
            return refused(
                component, reason, component=component, event=where, expected=NO_CONTROLS.hex(), found=controls.hex()
            )
    if not accepted:
        reason = f"there is no reference value of {subject}, and it was measured"
        return refused(component, reason, component=component, event=where, found=found.hex())
    if found not in accepted:
        reason = _wrong(component, subject)
        return refused(component, reason, component=component, event=where, expected=expected, found=found.hex())
    if (value := acceptance.value_of(component, found)) is not None:
        if problem := value.problem(now):
            return refused(component, f"{subject} {problem}", component=component, event=where, found=found.hex())
        if value.superseded:
            reason = f"{subject} is an old one that is still accepted{_until(value)}"
            return warned(component, reason, component=component, event=where, found=found.hex())
    reason = f"{subject} is an accepted one" if component in ("sinit", "vmm") else f"{subject} is the expected one"
    return affirmed(component, reason, component=component, event=where, found=found.hex())


def _until(value: AcceptedValue) -> str:
    return "" if value.valid_until is None else f", until {value.valid_until:%Y-%m-%d}"


def _wrong(component: str, subject: str) -> str:
    if component in ("plan", "topology", "policy"):
        return f"{subject} that the VMM holds is not the one that is about to run"
    return f"{subject} is none of those that the reference values accept"


def _find(component: str, events: Sequence[Event], acceptance: Acceptance) -> tuple[int, Event] | None:
    found = ((position, event) for position, event in enumerate(events) if acceptance.component_of(event) == component)
    return next(found, None)

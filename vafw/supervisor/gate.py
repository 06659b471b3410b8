"""The gate: the one place that decides whether anything may start.

Pure. It opens only for an affirming result, bound to the nonce that was asked for, young enough, of the plan that is
about to start and that the platform still holds. Everything else, the absence of a result included, is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from vafw.attest.explain import explain
from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.errors import ExitCode, GateClosed, GateUnavailable
from vafw.trace import Value

MAXIMUM_AGE: Final = timedelta(seconds=60)
"""How old a result may be at the moment of use."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Open or closed, and why."""

    open: bool
    reason: str
    component: str = ""
    """What is to blame, where it is closed: ``vmm``, ``sinit``, ``image firewall``, ``plan`` ..."""
    event: str = ""
    expected: str = ""
    found: str = ""
    exit_code: ExitCode = ExitCode.DONE

    def to_json(self) -> dict[str, Value]:
        """The decision as a JSON object, empty members left out."""
        members: dict[str, Value] = {"open": self.open, "reason": self.reason}
        for key in ("component", "event", "expected", "found", "remedy"):
            if value := getattr(self, key):
                members[key] = value
        return members

    @property
    def remedy(self) -> str:
        """What a person can do about a gate that is closed; empty for an open one."""
        if self.open:
            return ""
        if self.exit_code is ExitCode.GATE_UNAVAILABLE:
            return "Let the platform give evidence again; until it does, nothing starts."
        blamed = Claim("gate", Tier.CONTRAINDICATED, self.reason, self.component, self.event, self.expected, self.found)
        return explain(AttestationResult((blamed,), b"", datetime.min.replace(tzinfo=UTC), ""))[-1]

    def require_open(self) -> None:
        """Raise GateClosed or GateUnavailable unless the gate is open."""
        if self.open:
            return
        closed = GateUnavailable if self.exit_code is ExitCode.GATE_UNAVAILABLE else GateClosed
        raise closed(self.reason)


def unavailable(reason: str) -> GateDecision:
    """The decision where no attestation could be had."""
    return GateDecision(False, reason, exit_code=ExitCode.GATE_UNAVAILABLE)


def decide(
    result: AttestationResult,
    *,
    nonce: bytes,
    plan_digest: bytes,
    staged_plan_digest: bytes,
    now: datetime,
) -> GateDecision:
    """Decide on `result` for the plan with `plan_digest`, which the platform now holds as `staged_plan_digest`."""
    if failed := result.first_failure:
        return GateDecision(
            False,
            failed.reason,
            failed.component,
            failed.event,
            failed.expected,
            failed.found,
            ExitCode.GATE_FAILED,
        )
    if result.tier is not Tier.AFFIRMING:
        return _closed("the attestation result must be affirming, and it holds no claim at all")
    if result.nonce != nonce:
        return _closed("the attestation result must answer the nonce of this start", "nonce", nonce, result.nonce)
    age = now - result.appraised_at
    if not timedelta(0) <= age <= MAXIMUM_AGE:
        return _closed(
            f"the attestation result must be at most {MAXIMUM_AGE.seconds} s old, not {age.total_seconds():.0f} s"
        )
    if result.plan_digest != plan_digest:
        return _closed(
            "the plan that was measured must be the plan that starts", "plan", plan_digest, result.plan_digest
        )
    if staged_plan_digest != result.plan_digest:
        return _closed(
            "the topology was changed after it was measured: the plan that is about to start is not the attested one",
            "topology",
            result.plan_digest,
            staged_plan_digest,
        )
    return GateDecision(True, f"every one of {len(result.claims)} claims is affirming")


def _closed(reason: str, component: str = "", expected: bytes = b"", found: bytes = b"") -> GateDecision:
    return GateDecision(
        False,
        reason,
        component,
        expected=expected.hex(),
        found=found.hex(),
        exit_code=ExitCode.GATE_FAILED,
    )

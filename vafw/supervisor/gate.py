"""The gate: the one place that decides whether anything may start.

Pure. It opens only for an affirming result, bound to the nonce that was asked for, young enough, of the plan that is
about to start and that the platform still holds, and of the boot that the machine's TPM is in. Everything else, the
absence of a result included, is closed.

    decide   is the result affirming, for this nonce, plan and moment     names the claim to blame
    hold     is the signed result still true of the machine               asked again before each VM starts
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from vafw.attest.attester import BootCounts
from vafw.attest.explain import explain
from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.attest.token import BoundResult
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
    override: str = ""
    """Why somebody opened a gate that was closed; empty where it decided by itself."""

    def to_json(self) -> dict[str, Value]:
        """The decision as a JSON object, empty members left out."""
        members: dict[str, Value] = {"open": self.open, "reason": self.reason}
        for key in ("component", "event", "expected", "found", "override", "remedy"):
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
    accept_old: bool = False,
) -> GateDecision:
    """Decide on `result` for the plan with `plan_digest`, which the platform now holds as `staged_plan_digest`.

    With `accept_old` a result that only warns, of components that are superseded, opens it too.
    """
    failed = result.first_failure
    if failed is not None and not (accept_old and result.only_warned):
        return GateDecision(
            False,
            failed.reason,
            failed.component,
            failed.event,
            failed.expected,
            failed.found,
            ExitCode.GATE_FAILED,
        )
    if not result.claims:
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
    if failed is not None:
        return GateDecision(True, f"accepted with a warning: {failed.reason}", failed.component, failed.event)
    return GateDecision(True, f"every one of {len(result.claims)} claims is affirming")


def hold(
    result: BoundResult,
    *,
    nonce: bytes,
    plan_digest: bytes,
    staged_plan_digest: bytes,
    counts: BootCounts,
    accept_old: bool = False,
) -> GateDecision:
    """Whether a signed result, whose times hold, is still true of the machine at this moment."""
    if result.tier is not Tier.AFFIRMING and not (accept_old and result.tier is Tier.WARNING):
        return _closed(f"the attestation result must be affirming, and it is {result.tier.value}")
    if result.nonce != nonce:
        return _closed("the attestation result must answer the nonce of this start", "nonce", nonce, result.nonce)
    if (result.resets, result.restarts) != (counts.resets, counts.restarts):
        return GateDecision(
            False,
            "the machine was reset or restarted since it was attested: the result is of another boot",
            "boot",
            expected=f"reset {result.resets} restart {result.restarts}",
            found=f"reset {counts.resets} restart {counts.restarts}",
            exit_code=ExitCode.GATE_FAILED,
        )
    if not result.plan_digest == plan_digest == staged_plan_digest:
        return _closed(
            "the plan was changed after it was attested: the one that is about to start is not the attested one",
            "plan",
            result.plan_digest,
            staged_plan_digest,
        )
    return GateDecision(True, f"{result.issuer} affirms this boot of this plan")


def _closed(reason: str, component: str = "", expected: bytes = b"", found: bytes = b"") -> GateDecision:
    return GateDecision(
        False,
        reason,
        component,
        expected=expected.hex(),
        found=found.hex(),
        exit_code=ExitCode.GATE_FAILED,
    )

"""The gate opens for an affirming, fresh result of the very plan that starts, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.errors import ExitCode, GateClosed, GateUnavailable
from vafw.supervisor.gate import MAXIMUM_AGE, GateDecision, decide, unavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONCE = bytes(range(32))
PLAN = b"p" * 32
GOOD = AttestationResult((Claim("vmm", Tier.AFFIRMING, "known"),), NONCE, NOW, "model", 1, 0, PLAN)


def decision(
    result: AttestationResult = GOOD,
    nonce: bytes = NONCE,
    plan: bytes = PLAN,
    staged: bytes = PLAN,
    now: datetime = NOW,
) -> GateDecision:
    return decide(result, nonce=nonce, plan_digest=plan, staged_plan_digest=staged, now=now)


def test_an_affirming_result_of_the_plan_that_starts_opens_the_gate() -> None:
    assert decision() == GateDecision(True, "every one of 1 claims is affirming")


@pytest.mark.parametrize("tier", [Tier.WARNING, Tier.CONTRAINDICATED])
def test_one_claim_that_is_not_affirming_closes_the_gate_and_is_named_refused(tier: Tier) -> None:
    bad = Claim("vmm", tier, "unknown VMM", "vmm", "#5 PCR 17 MLE_HASH", "aa", "bb")
    closed = decision(replace(GOOD, claims=(*GOOD.claims, bad)))
    assert closed == GateDecision(False, "unknown VMM", "vmm", "#5 PCR 17 MLE_HASH", "aa", "bb", ExitCode.GATE_FAILED)


def test_a_result_without_claims_is_refused() -> None:
    assert not decision(replace(GOOD, claims=())).open


def test_another_nonce_is_refused() -> None:
    assert decision(nonce=bytes(32)).reason == "the attestation result must answer the nonce of this start"


@pytest.mark.parametrize("age", [MAXIMUM_AGE + timedelta(seconds=1), timedelta(seconds=-1)])
def test_a_result_that_is_too_old_or_from_the_future_is_refused(age: timedelta) -> None:
    closed = decision(now=NOW + age)
    assert closed.reason == f"the attestation result must be at most 60 s old, not {age.total_seconds():.0f} s"


def test_a_result_of_another_plan_is_refused() -> None:
    closed = decision(plan=b"q" * 32)
    assert (closed.component, closed.reason) == ("plan", "the plan that was measured must be the plan that starts")


@given(st.integers(0, 255))
def test_a_plan_altered_after_it_was_measured_is_refused(bit: int) -> None:
    staged = bytearray(PLAN)
    staged[bit // 8] ^= 1 << bit % 8
    closed = decision(staged=bytes(staged))
    assert (closed.open, closed.component, closed.exit_code) == (False, "topology", ExitCode.GATE_FAILED)


def test_a_closed_gate_raises_with_its_exit_code_refused() -> None:
    with pytest.raises(GateClosed, match="the plan that was measured must be the plan that starts"):
        decision(plan=b"q" * 32).require_open()
    with pytest.raises(GateUnavailable, match="no quote"):
        unavailable("no quote").require_open()

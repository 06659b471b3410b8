"""What the gate decided, in the ledger; and the one way round it, which leaves a record or does not exist.

    decision ─▶ ledger ─▶ the same decision
    closed, and somebody broke the glass ─▶ ledger: who says why ─▶ open, marked as what it is in every status

An override holds for one run. The next run that passes the gate by itself is clean again, and the ledger shows both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

from vafw.attest.ledger import Ledger, RecordKind
from vafw.attest.result import AttestationResult
from vafw.errors import ExitCode, UsageError
from vafw.supervisor.gate import GateDecision
from vafw.trace import Value


@final
class GateRecord:
    """Keeps the decisions of one run."""

    def __init__(self, ledger: Ledger, subject: str, break_glass: str | None = None) -> None:
        """`subject` is the topology; with `break_glass`, the reason to start against a closed gate.

        UsageError for a reason that says nothing.
        """
        if break_glass is not None and len(break_glass.split()) < 2:
            raise UsageError("--break-glass must say why in some words: the ledger keeps them")
        self._ledger = ledger
        self._subject = subject
        self._reason = break_glass

    def keep(self, decision: GateDecision, result: AttestationResult | None) -> GateDecision:
        """Write result and decision; the decision as it stands, or overridden where the glass was broken."""
        if result is not None:
            self._ledger.append(RecordKind.RESULT, self._subject, _kept(result))
        self._ledger.append(RecordKind.GATE, self._subject, decision.to_json())
        if decision.open or self._reason is None:
            return decision
        self._ledger.append(
            RecordKind.BREAK_GLASS, self._subject, {"reason": self._reason, "against": decision.to_json()}
        )
        against = f"opened by hand ({self._reason}) against: {decision.reason}"
        return replace(decision, open=True, reason=against, override=self._reason, exit_code=ExitCode.DONE)


def _kept(result: AttestationResult) -> dict[str, Value]:
    """A result as the ledger keeps it: tiers and reasons, and what binds it to a boot."""
    whole = result.to_json()
    return {
        key: whole[key] for key in ("tier", "root-of-trust", "nonce", "reset-count", "restart-count", "plan-digest")
    } | {
        "claims": [f"{claim.name}: {claim.tier.value}: {claim.reason}" for claim in result.claims],
        "pcrs": whole["pcrs"],
    }

"""One committed configuration of one appliance, as the ledger keeps it: what it is, how its trial stands, who signed.

Plain values. Which of them there are, and what may become of them, is `ledger`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vafw.control.approval import Approval, Charter
from vafw.control.envelope import Version
from vafw.errors import Refused
from vafw.trace import Value


class TrialState(StrEnum):
    """Where a generation on trial stands, as far as the ledger was told."""

    OPEN = "on trial"
    CONFIRMING = "confirming"
    """Its confirmation was asked for, and the agent has not said yet that it came in time."""
    CONFIRMED = "confirmed"
    WENT_BACK = "went back"


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What the ledger knows of a generation's trial."""

    within_s: float
    """How long the agent waits for a confirmation, in seconds."""
    state: TrialState
    reason: str
    """Why it went back, as a clause."""

    @property
    def is_open(self) -> bool:
        """Whether the agent has not said yet how it ended."""
        return self.state in (TrialState.OPEN, TrialState.CONFIRMING)

    def to_json(self) -> dict[str, Value]:
        """The record as a JSON object."""
        return {"within-s": self.within_s, "state": self.state.value, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Approved:
    """What people signed, and who they were when it was accepted."""

    approval: Approval
    signers: tuple[str, ...]

    def to_json(self) -> dict[str, Value]:
        """As the ledger keeps it."""
        return {"approval": self.approval.to_json(), "signers": list(self.signers)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed configuration of one appliance."""

    appliance: str
    version: Version
    digest: str
    body: dict[str, Value]
    """What the appliance's program takes."""
    basis: dict[str, Value]
    """What the body was compiled from, so that the next change builds on it."""
    note: str
    author: str
    at: str
    """When it was committed, ISO 8601, UTC."""
    trial: TrialRecord | None = None
    """None: it was for good from the beginning."""
    approved: Approved | None = None
    """None: nobody's signature was asked for."""
    confirmed: Approved | None = None
    """The same for the confirmation of what was on trial."""

    @property
    def is_on_trial(self) -> bool:
        """Whether it may still go back by itself."""
        return self.trial is not None and self.trial.is_open

    @property
    def went_back(self) -> bool:
        """Whether it was tried and is no longer in force."""
        return self.trial is not None and self.trial.state is TrialState.WENT_BACK

    def refusal(self, charter: Charter | None, given: str) -> str:
        """Why it must not be put in force without being asked for again; empty where it may.

        What the documents say, which has the digest `given`, needs nobody's signature, for it was attested.
        """
        if charter is None or self.digest == given:
            return ""
        signed = (each.approval if each else None for each in (self.approved, self.confirmed))
        try:
            charter.admit_kept(self.version, self.digest, *signed)
        except Refused as refusal:
            return refusal.message
        return ""

    def to_json(self) -> dict[str, Value]:
        """The entry without body and basis."""
        return {
            "appliance": self.appliance,
            **self.version.to_json(),
            "digest": self.digest,
            "note": self.note,
            "author": self.author,
            "at": self.at,
            "trial": self.trial.to_json() if self.trial else None,
            "signers": list(self.approved.signers) if self.approved else [],
            "confirmed-by": list(self.confirmed.signers) if self.confirmed else [],
        }

"""Attestation results: claims with a reason each (the words are those of AR4SI and EAR)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vafw.trace import Value


class Tier(StrEnum):
    """How trustworthy a claim makes the attester (AR4SI, "trustworthiness tiers")."""

    AFFIRMING = "affirming"
    WARNING = "warning"
    CONTRAINDICATED = "contraindicated"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that was appraised."""

    name: str
    """For instance ``quote-signature``, ``nonce``, ``vmm``, ``image firewall``."""
    tier: Tier
    reason: str
    component: str = ""
    """The component it speaks of: ``vmm``, ``sinit``, ``lcp``, ``log``, ``image firewall``, ``plan``."""
    event: str = ""
    """The event of the log it rests on, for instance ``#3 PCR 17 MLE_HASH``."""
    expected: str = ""
    found: str = ""

    def to_json(self) -> dict[str, Value]:
        """The claim as a JSON object, empty members left out."""
        members: dict[str, Value] = {"name": self.name, "tier": self.tier.value, "reason": self.reason}
        for key in ("component", "event", "expected", "found"):
            if value := getattr(self, key):
                members[key] = value
        return members


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """What a verifier concluded from one piece of evidence; affirming only if every claim is."""

    claims: tuple[Claim, ...]
    nonce: bytes
    appraised_at: datetime
    root_of_trust: str
    reset_count: int = -1
    """TPM reset count of the quote: which boot this result is bound to; -1 where no quote could be read."""
    restart_count: int = -1
    plan_digest: bytes = b""
    """The plan that the VMM extended into PCR 19."""
    pcrs: dict[int, bytes] = field(default_factory=dict)
    """The quoted SHA-256 PCR values that the claims rest on."""

    @property
    def tier(self) -> Tier:
        """The worst tier of all claims; contraindicated where there is none."""
        tiers = {claim.tier for claim in self.claims}
        for tier in (Tier.CONTRAINDICATED, Tier.WARNING):
            if tier in tiers:
                return tier
        return Tier.AFFIRMING if tiers else Tier.CONTRAINDICATED

    @property
    def first_failure(self) -> Claim | None:
        """The first claim that is contraindicated; where none is, the first that warns."""
        failed = [claim for claim in self.claims if claim.tier is not Tier.AFFIRMING]
        return next((claim for claim in failed if claim.tier is Tier.CONTRAINDICATED), failed[0] if failed else None)

    @property
    def only_warned(self) -> bool:
        """Whether the worst that was found is a warning."""
        return self.tier is Tier.WARNING

    def to_json(self) -> dict[str, Value]:
        """The result as one JSON object."""
        return {
            "tier": self.tier.value,
            "root-of-trust": self.root_of_trust,
            "nonce": self.nonce.hex(),
            "appraised-at": self.appraised_at.isoformat(),
            "reset-count": self.reset_count,
            "restart-count": self.restart_count,
            "plan-digest": self.plan_digest.hex(),
            "pcrs": {str(index): value.hex() for index, value in sorted(self.pcrs.items())},
            "claims": [claim.to_json() for claim in self.claims],
        }

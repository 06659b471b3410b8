"""Making claims: the three ways a step of the appraisal can end."""

from __future__ import annotations

from vafw.attest.result import Claim, Tier


def affirmed(name: str, reason: str, *, component: str = "", event: str = "", found: str = "") -> Claim:
    """What was appraised holds."""
    return Claim(name, Tier.AFFIRMING, reason, component, event, found, found)


def warned(name: str, reason: str, *, component: str, event: str = "", found: str = "") -> Claim:
    """What was appraised holds still, and will not for long."""
    return Claim(name, Tier.WARNING, reason, component, event, found, found)


def refused(name: str, reason: str, *, component: str, event: str = "", expected: str = "", found: str = "") -> Claim:
    """What was appraised does not hold, or could not be appraised."""
    return Claim(name, Tier.CONTRAINDICATED, reason, component, event, expected, found)

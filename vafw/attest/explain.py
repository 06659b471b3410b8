"""Saying why a machine is not believed: one to four plain sentences for a person at a terminal.

Pure, and no judge: everything said stands in the result already.
"""

from __future__ import annotations

from typing import Final

from vafw.attest.result import AttestationResult, Claim, Tier

_REMEDIES: Final = {
    "sinit": "Put the accepted SINIT module back, or accept this one with `vafw measure --write` if it is meant.",
    "vmm": "Put the accepted VMM back, or accept this one with `vafw measure --write` if it is meant.",
    "lcp": "Put the launch control policy back whose hash stands in the TPM, or write the new one there as its owner.",
    "log": "Take the log afresh with a new challenge; if it differs again, treat the machine as compromised.",
    "plan": "Bring the machine up again, so that the VMM measures the plan that is to run.",
    "topology": "Bring the machine up again, so that the VMM measures the topology that is to run.",
    "policy": "Bring the machine up again, so that the VMM measures the policy that is to run.",
    "launch": "Let the loader launch the VMM with GETSEC[SENTER]; nothing that was started without it can be believed.",
    "pcrs": "Take the evidence afresh with a new challenge; if it differs again, treat the machine as compromised.",
    "quote": "Ask with a fresh challenge, and check that this is the machine whose attestation key was enrolled.",
    "nonce": "Ask with a fresh challenge: each is good for one answer.",
}
_IMAGE: Final = "Put the accepted {component} back, or accept this one with `vafw measure --write` if it is meant."
_OTHER: Final = "Start nothing on this machine until the cause is known."


def explain(result: AttestationResult) -> tuple[str, ...]:
    """What is wrong, where it shows, what else is, and what to do; one sentence where nothing is wrong."""
    failed = result.first_failure
    if failed is None:
        if result.tier is Tier.AFFIRMING:
            return (f"Everything that was measured is accepted ({len(result.claims)} claims).",)
        return ("Nothing was appraised, so nothing is believed.", _OTHER)
    sentences = (_what(failed), _where(failed), _others(result, failed), _remedy(failed))
    return tuple(sentence for sentence in sentences if sentence)


def _what(failed: Claim) -> str:
    return f"{failed.component or failed.name}: {failed.reason}."


def _where(failed: Claim) -> str:
    told = [f"{word} {value}" for word, value in (("expected", failed.expected), ("found", failed.found)) if value]
    if not told:
        return f"It shows in event {failed.event}." if failed.event else ""
    comparison = ", ".join(told)
    return f"Event {failed.event}: {comparison}." if failed.event else f"{comparison[:1].upper()}{comparison[1:]}."


def _others(result: AttestationResult, failed: Claim) -> str:
    others = [each.name for each in result.claims if each.tier is not Tier.AFFIRMING and each is not failed]
    return f"Not accepted either: {', '.join(others)}." if others else ""


def _remedy(failed: Claim) -> str:
    if failed.component.startswith("image "):
        return _IMAGE.format(component=failed.component)
    return _REMEDIES.get(failed.component, _OTHER)

"""A verifier elsewhere, as the supervisor asks it: over MQTT, believed for what its key signed and nothing else."""

from __future__ import annotations

from datetime import UTC
from typing import Any, final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from vafw.attest.evidence import Evidence
from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.attest.token import BoundResult, ResultChecker
from vafw.clock import Clock
from vafw.control.verifier import FarVerifier, VerifierSilent
from vafw.plan.plan import Plan
from vafw.supervisor.platform import Appraisal


@final
class FarAppraiser:
    """Fulfils `vafw.supervisor.platform.Appraiser`."""

    def __init__(self, verifier: FarVerifier, key: EllipticCurvePublicKey, issuer: str, clock: Clock) -> None:
        """`key` is the public key of the verifier that calls itself `issuer`."""
        self._verifier = verifier
        self._key = key
        self._issuer = issuer
        self._clock = clock

    async def challenge(self) -> bytes:
        """A nonce of the verifier's."""
        return await self._verifier.challenge()

    async def appraise(self, evidence: Evidence, nonce: bytes, plan: Plan) -> Appraisal:
        """What the verifier says of the evidence; it knows by itself what the plan must be."""
        told, token = await self._verifier.appraise(evidence, nonce)
        bound = self.check(token, plan)
        return Appraisal(_result(told, bound, evidence), token)

    def check(self, token: str, plan: Plan) -> BoundResult:
        """What a token says; ResultRefused where the verifier did not sign it, for this plan, for now."""
        return ResultChecker(self._key, self._issuer, plan.name, self._clock).jwt(token)


def _result(told: Any, bound: BoundResult, evidence: Evidence) -> AttestationResult:
    """The reasons out of the message, everything that decides out of the token."""
    try:
        reasons = {str(each["name"]): each for each in told["claims"]}
        claims = tuple(
            Claim(
                name,
                tier,
                str(reasons[name]["reason"]),
                *(str(reasons[name].get(key, "")) for key in ("component", "event", "expected", "found")),
            )
            for name, tier in bound.claims.items()
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise VerifierSilent(f"the verifier must say why for each claim: {error!r}") from error
    return AttestationResult(
        claims, bound.nonce, bound.issued_at.astimezone(UTC), bound.root_of_trust, bound.resets, bound.restarts,
        bound.plan_digest, dict(evidence.pcrs) if bound.tier is not Tier.CONTRAINDICATED else {},
    )  # fmt: skip

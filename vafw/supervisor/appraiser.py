"""The verifier as its relying party sees it, in the process of the machine it judges: same keys, same tokens, no wire.

    challenge ─▶ evidence ─▶ Verifier ─▶ AttestationResult ─sign─▶ token ─check─▶ the gate

The result goes to people, with its reasons; the gate believes the token alone, so that it asks the same of a verifier
beside it as of one far away (`vafw.control.verifier`). The signing key lives as long as this object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric import ec

from vafw.attest.enrolment import Identity
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.reference import ReferenceValues
from vafw.attest.token import BoundResult, ResultChecker, ResultSigner
from vafw.attest.verifier import Verifier
from vafw.clock import Clock
from vafw.plan.plan import Plan
from vafw.supervisor.platform import Appraisal

ISSUER: Final = "vafw verifier, in process"


@final
class InProcessAppraiser:
    """Fulfils `vafw.supervisor.platform.Appraiser` for one machine."""

    def __init__(
        self, reference: ReferenceValues, identity: Identity, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        """`random(n)` gives n unpredictable bytes."""
        self._verifier = Verifier(reference, identity.ak, clock, random)
        self._identity = identity
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._clock = clock
        self._signer = ResultSigner(self._key, ISSUER, clock)

    async def challenge(self) -> bytes:
        """A fresh nonce, good for one appraisal."""
        return self._verifier.challenge()

    async def appraise(self, evidence: Evidence, nonce: bytes, plan: Plan) -> Appraisal:
        """Appraise evidence for the machine and the plan; every path ends in a result."""
        result = self._verifier.appraise(
            evidence,
            nonce,
            plan.digest,
            {kind: plan.documents[kind] for kind in ("topology", "policy")},
            tuple(dict.fromkeys(vm.image.name for vm in plan.vms)),
            plan_name=plan.name,
            required_root=RootOfTrust.TXT if plan.launch.require_txt else None,
        )
        return Appraisal(result, self._signer.jwt(result, self._identity.platform, plan.name, self._identity.ak.name))

    def check(self, token: str, plan: Plan) -> BoundResult:
        """What a token says; ResultRefused where it is none of ours, for this plan, now."""
        return ResultChecker(self._key.public_key(), ISSUER, plan.name, self._clock).jwt(token)

"""The Verifier (RFC 9334): evidence, reference values and what is about to run in; an attestation result out.

    challenge() -> nonce -> [attester] -> evidence -> appraise() -> result, affirming only if every claim is

Fails closed. `appraise` never raises: whatever goes wrong becomes a claim that is not affirming, an exception of this
program included; and a result that lacks a claim it ought to have is not affirming either. A stage that refuses ends
the appraisal, as the later ones would rest on what is not believed.

Not the gate: whether anything starts is decided in `vafw.supervisor`, by the age of the result and the boot it is bound
to. Not stateless: a verifier remembers its open challenges and the latest moment of the TPM that it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from vafw.attest import components, log, quote
from vafw.attest.accepted import Acceptance
from vafw.attest.claims import affirmed, refused
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.expectation import Expectation
from vafw.attest.key import AttestationKey
from vafw.attest.profile import profile_of
from vafw.attest.reference import ReferenceValues
from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.clock import Clock
from vafw.tcg.attest import ClockInfo

NONCE_BYTES: Final = 32
CHALLENGE_LIFETIME_S: Final = 120.0
"""How long a nonce may take to come back: a slow TPM and a slow link, and nobody's lunch."""
_MOST_CHALLENGES: Final = 256
_ALWAYS_CLAIMED: Final = (
    "challenge",
    "quote-format",
    "quote-signature",
    "quote-signer",
    "nonce",
    "pcr-selection",
    "pcr-values",
    "measured-launch",
    "root-of-trust",
    "boot",
    "tpm-firmware",
    "log-format",
    "log-events",
    "log-replay",
)


@dataclass(slots=True)
class _Findings:
    """What the appraisal has established so far."""

    claims: list[Claim] = field(default_factory=list)
    root_of_trust: str = RootOfTrust.NONE.value
    clock: ClockInfo | None = None
    plan_digest: bytes = b""
    pcrs: dict[int, bytes] = field(default_factory=dict)


@final
class Verifier:
    """Appraises the evidence of one attester, known by its attestation key."""

    def __init__(
        self,
        reference: ReferenceValues,
        ak: AttestationKey,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        """`random(n)` gives n unpredictable bytes; `clock` stamps results and lets challenges expire."""
        self._reference = reference
        self._ak = ak
        self._clock = clock
        self._random = random
        self._challenges: dict[bytes, float] = {}
        self._latest: ClockInfo | None = None
        self._firmware: int | None = None

    def challenge(self) -> bytes:
        """A fresh nonce, good for one appraisal."""
        nonce = self._random(NONCE_BYTES)
        while len(self._challenges) >= _MOST_CHALLENGES:
            self._challenges.pop(next(iter(self._challenges)))
        self._challenges[nonce] = self._clock.monotonic()
        return nonce

    def appraise(
        self,
        evidence: Evidence,
        nonce: bytes,
        expected_plan: bytes,
        expected_documents: Mapping[str, str],
        expected_images: tuple[str, ...],
        *,
        plan_name: str | None = None,
        required_root: RootOfTrust | None = None,
    ) -> AttestationResult:
        """Appraise `evidence` for `nonce`, which is used up by it.

        `expected_plan` is the SHA-256 of the plan's canonical JSON; `expected_documents` gives the SHA-256 of the
        topology and the policy, hexadecimal, by kind; `expected_images` names the images of the plan. With a
        `plan_name` the log must carry that name; with a `required_root` nothing else may have begun the launch.
        """
        found = _Findings()
        try:
            found.root_of_trust = evidence.root_of_trust.value
            expectation = Expectation(expected_plan, expected_documents, expected_images, plan_name)
            acceptance = Acceptance(self._reference, expectation, profile_of(evidence.root_of_trust))
            for stage in self._stages(found, evidence, nonce, acceptance, required_root):
                found.claims.extend(stage)
                if any(claim.tier is Tier.CONTRAINDICATED for claim in stage):
                    break
            else:
                found.claims.extend(_unclaimed(found.claims, acceptance))
        except Exception as error:  # fails closed: no fault of this program may leave a machine believed
            reason = f"the appraisal could not be finished: {type(error).__name__}: {error}"
            found.claims.append(refused("appraisal", reason, component="verifier"))
        return self._result(found, nonce)

    def _stages(
        self,
        found: _Findings,
        evidence: Evidence,
        nonce: bytes,
        acceptance: Acceptance,
        required_root: RootOfTrust | None,
    ) -> Iterator[tuple[Claim, ...]]:
        """One tuple of claims a stage; the next stage is asked for only if none of them is contraindicated."""
        yield (self._redeem(nonce),)
        claim, attest = quote.read_quote(evidence)
        yield (claim,)
        if attest is None:
            return
        yield (quote.appraise_signature(evidence, self._ak),)
        yield (quote.appraise_signer(attest, self._ak),)
        yield (quote.appraise_nonce(attest, nonce),)
        found.clock = attest.clock_info
        yield (quote.appraise_selection(attest),)
        yield (quote.appraise_values(attest, evidence),)
        found.pcrs = dict(evidence.pcrs)
        yield (quote.appraise_launch(evidence),)
        yield (quote.appraise_root(evidence, required_root),)
        yield (quote.appraise_boot(attest, self._latest),)
        self._latest = attest.clock_info
        yield (quote.appraise_firmware(attest, self._reference.tpm_firmware, self._firmware),)
        self._firmware = attest.firmware_version
        claim, events = log.read_log(evidence, attest)
        yield (claim,)
        yield (log.appraise_events(events, acceptance),)
        yield (log.appraise_replay(events, attest, evidence, acceptance),)
        found.plan_digest = components.measured_plan(events, acceptance)
        yield components.appraise_components(events, acceptance, self._clock.wall())

    def _redeem(self, nonce: bytes) -> Claim:
        """Use the challenge up, whatever becomes of the evidence."""
        issued = self._challenges.pop(nonce, None)
        if issued is None:
            reason = "the nonce must be one that this verifier gave out and that nobody has used"
            return refused("challenge", reason, component="nonce", found=nonce.hex())
        age = self._clock.monotonic() - issued
        if not 0 <= age <= CHALLENGE_LIFETIME_S:
            reason = (
                f"the evidence must come within {CHALLENGE_LIFETIME_S:.0f} s of the challenge, not after {age:.0f} s"
            )
            return refused("challenge", reason, component="nonce", found=nonce.hex())
        return affirmed("challenge", "the nonce is fresh and used for the first time", component="nonce")

    def _result(self, found: _Findings, nonce: bytes) -> AttestationResult:
        clock = found.clock
        return AttestationResult(
            claims=tuple(found.claims),
            nonce=nonce,
            appraised_at=self._clock.wall(),
            root_of_trust=found.root_of_trust,
            reset_count=-1 if clock is None else clock.reset_count,
            restart_count=-1 if clock is None else clock.restart_count,
            plan_digest=found.plan_digest,
            pcrs=found.pcrs,
        )


def _unclaimed(claims: list[Claim], acceptance: Acceptance) -> tuple[Claim, ...]:
    """A refusal for each claim that must have been made and was not."""
    made = {claim.name for claim in claims}
    reason = "the appraisal ended without a word on this"
    return tuple(
        refused(name, reason, component=name) for name in (*_ALWAYS_CLAIMED, *acceptance.components) if name not in made
    )

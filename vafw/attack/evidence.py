"""Attacks on what the gate is shown: other images, another plan, an altered log, an old quote, a launch that never was.

Here the hardware has done its part, or was kept from doing it; what is left is whether anybody is taken in (D1 to D11).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vafw.attack import record
from vafw.attack.computer import Computer
from vafw.attack.launch import started
from vafw.attack.mechanism import Mechanism
from vafw.attack.scenario import Attempt, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.attest.attester import BootCounts
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.result import AttestationResult
from vafw.attest.token import BoundResult
from vafw.hw.txt.locality import LocalityClosed
from vafw.provider.model.loader import LaunchComponent, Tamper
from vafw.provider.model.tamper import TamperPlan
from vafw.supervisor.gate import MAXIMUM_AGE, GateDecision, hold
from vafw.tcg.eventlog import Event, decode_log
from vafw.tcg.events import EventType

_SKIPPED: Final = TamperPlan("launch", at_launch=Tamper(LaunchComponent.LAUNCH))
_GATE: Final = layer(Mechanism.GATE)
_BIT: Final = 256


def _flipped_plan(target: Target) -> Attempt:
    computer = target.computer()
    yield "one bit of the plan is flipped in memory after the VMM has measured it"
    computer.boot(tamper=TamperPlan("topology", staged_plan_bit=_BIT))
    return started(target, computer)


def _flipped_image(target: Target) -> Attempt:
    computer = target.computer()
    victim = computer.supplies.images[0]
    yield f"one bit of the image {victim.name} is flipped on the disk"
    tamper = TamperPlan("image", image=victim.name, image_bit=_BIT)
    computer.boot(images=tuple(tamper.altered(each) for each in computer.supplies.images))
    return started(target, computer)


def _flipped_log(target: Target) -> Attempt:
    computer = target.computer()
    yield "one bit of the event log is flipped, in the digest that speaks of the VMM"
    computer.boot(tamper=TamperPlan("log", at_launch=Tamper(LaunchComponent.LOG)))
    return started(target, computer)


def _replayed_quote(target: Target) -> Attempt:
    computer = target.computer()
    computer.launch_honestly()
    recorded, _ = computer.evidence()
    yield "evidence of an honest boot is recorded on its way to the verifier"
    computer.boot(tamper=_SKIPPED)
    yield "the next boot launches nothing, and answers the verifier with what was recorded"
    return _shown(target, computer, recorded, computer.challenge())


def _stale_result(target: Target) -> Attempt:
    """Between the appraisal and the start lies a moment; a reset fits into it."""
    computer = target.computer()
    computer.launch_honestly()
    result = computer.appraise(*computer.evidence())
    yield f"an honest boot is appraised: {result.tier.value}"
    computer.boot(tamper=_SKIPPED)
    counts = computer.measured.attester.boot_counts()
    yield "the machine is reset before anything starts, launches nothing, and goes on with that result"
    if target.lacks(Mechanism.BOOT_COUNTS):
        counts = BootCounts(result.reset_count, result.restart_count)
    digest = computer.plan.digest
    decision = hold(_bound(result), nonce=result.nonce, plan_digest=digest, staged_plan_digest=digest, counts=counts)
    return _concluded(target, decision)


def _bound(result: AttestationResult) -> BoundResult:
    """What a signed result says once its signature and times were checked."""
    return BoundResult(
        issuer="verifier",
        audience="gate",
        platform="model",
        tier=result.tier,
        nonce=result.nonce,
        root_of_trust=result.root_of_trust,
        resets=result.reset_count,
        restarts=result.restart_count,
        plan_digest=result.plan_digest,
        ak_name=b"",
        issued_at=result.appraised_at,
        expires_at=result.appraised_at + MAXIMUM_AGE,
        claims={each.name: each.tier for each in result.claims},
    )


def _quote_of_another(target: Target) -> Attempt:
    computer, other = target.computer(), target.computer()
    computer.boot(tamper=_SKIPPED)
    other.launch_honestly()
    nonce = computer.challenge()
    yield "a machine that launched nothing passes the nonce on to an honest one, and shows its evidence"
    return _shown(target, computer, other.measured.evidence(nonce), nonce)


def _forged_launch(target: Target) -> Attempt:
    """What a VMM below the launch would have to do: make the TPM believe in a launch that it stood in the way of."""
    honest = Computer(target.supplies, frozenset())
    honest.boot()
    log = honest.measured.evidence(b"").event_log
    computer = target.computer()
    computer.platform.ilp.vmx_operation = True
    computer.measured.power_on()
    computer.platform.ilp.vmx_operation = True
    outcome = computer.measured.launch(None, target.supplies.files)
    yield f"a VMM is in VMX root operation already: {outcome.error.reason if outcome.error else 'launched'}"
    computer.measured.measure_plan(target.supplies.images, None)
    yield "it sends the hash sequence of an honest launch to the TPM itself, and extends what the honest log says"
    try:
        replay(target, computer, log)
    except LocalityClosed as error:
        yield error.message
    nonce = computer.challenge()
    forged = replace(
        computer.measured.evidence(nonce), event_log=log, root_of_trust=RootOfTrust.MODEL, launch_error=None
    )
    return _shown(target, computer, forged, nonce)


def replay(target: Target, computer: Computer, log: bytes) -> None:
    """Put a TPM's registers where a log says they are; LocalityClosed unless any program reaches every locality."""
    tpm = computer.platform.tpm
    for event in decode_log(log):
        if event.event_type == EventType.TXT_HASH_START:
            if not target.lacks(Mechanism.TPM_LOCALITY):
                computer.port.hash_sequence(event.data)
            tpm.hash_start()
            tpm.hash_data(event.data)
            tpm.hash_end()
        elif _extends(event):
            tpm.extend(event.pcr, dict(event.digests), 2)


def _extends(event: Event) -> bool:
    return event.event_type not in (EventType.EV_NO_ACTION, EventType.TXT_PCR_MAPPING)


def _shown(target: Target, computer: Computer, evidence: Evidence, nonce: bytes) -> Verdict:
    """What comes of evidence on a machine whose attacker says that the right plan is staged."""
    return _concluded(target, computer.decide(evidence, nonce, staged=computer.plan.digest))


def _concluded(target: Target, decision: GateDecision) -> Verdict:
    if decision.open or target.lacks(Mechanism.GATE):
        return Verdict(f"every VM is started: {decision.reason if decision.open else 'nobody asked the gate'}")
    return record.of_gate(decision)


SCENARIOS: Final = (
    Scenario(
        "flipped-bit-plan",
        "The plan is changed after it was measured.",
        "S14, D11",
        (_GATE,),
        _flipped_plan,
    ),
    Scenario(
        "flipped-bit-image",
        "One bit of an appliance's image is changed.",
        "S13, S14",
        (_GATE,),
        _flipped_image,
    ),
    Scenario(
        "flipped-bit-log",
        "One bit of the launch's event log is changed.",
        "S14, D7",
        (_GATE,),
        _flipped_log,
    ),
    Scenario(
        "replayed-quote",
        "A machine that launched nothing shows the evidence of an earlier boot.",
        "S14, D1",
        (layer(Mechanism.GATE, Mechanism.NONCE),),
        _replayed_quote,
    ),
    Scenario(
        "stale-result",
        "A machine is reset after it was attested, and uses the result for another boot.",
        "S14, D2",
        (layer(Mechanism.GATE, Mechanism.BOOT_COUNTS),),
        _stale_result,
    ),
    Scenario(
        "quote-of-another",
        "A machine that launched nothing shows the evidence of an honest one.",
        "S14, D3, D15",
        (_GATE,),
        _quote_of_another,
    ),
    Scenario(
        "forged-launch",
        "A VMM below the launch makes it fail, and tells the TPM that it took place.",
        "S14, D8",
        (layer(Mechanism.GATE, Mechanism.TPM_LOCALITY),),
        _forged_launch,
    ),
)

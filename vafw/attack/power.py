"""Attacks that begin with the power button: reset, sleep, another boot, while something of value is kept (S14, S16).

A reset leaves memory as it was, and a sleep is meant to. What a TPM keeps for a VMM it must give to no other.
"""

from __future__ import annotations

from typing import Final

from vafw.address import PAGE_SIZE, Hpa
from vafw.attack.computer import Computer
from vafw.attack.evidence import replay
from vafw.attack.launch import started
from vafw.attack.mechanism import Mechanism
from vafw.attack.scenario import Attempt, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.hw.tpm import PolicySession, TpmError
from vafw.hw.tpm.sealing import SealedData
from vafw.hw.txt.bits import PRIVATE_SPACE, Reg
from vafw.hw.txt.locality import LocalityClosed
from vafw.provider.model.loader import VMM_BASE, LaunchComponent, Tamper
from vafw.provider.model.tamper import TamperPlan
from vafw.tcg.algorithms import SHA256
from vafw.tcg.selection import PcrSelection

_ORDINARY_MEMORY: Final = Hpa(48 << 20)
"""Above what the loader places, below what VMs get."""
_SECRET: Final = b"the key of the disk"
_LAUNCH: Final = PcrSelection.of({SHA256: (17, 18)})
_VMM_LOCALITY: Final = 2
_SKIPPED: Final = TamperPlan("launch", at_launch=Tamper(LaunchComponent.LAUNCH))


def _reset_attack(target: Target) -> Attempt:
    computer = target.computer()
    computer.boot()
    memory = computer.pc.memory
    place = _ORDINARY_MEMORY
    if target.lacks(Mechanism.SCRUB):
        memory.write(Hpa(PRIVATE_SPACE + Reg.CMD_NO_SECRETS), b"\1")
    memory.write(place, _SECRET)
    yield f"a key stands at {place:#x}; the attacker presses reset and boots a system of his own"
    steps = computer.measured.reset(bios_acm_runs=not target.lacks(Mechanism.BIOS_ACM))
    if memory.read(place, len(_SECRET)) == _SECRET:
        return Verdict(f"the key is still at {place:#x}")
    done = next(each for each in steps if each.name == "scrub memory")
    return Verdict(f"BIOS ACM: {done.name}, {done.detail}", Mechanism.SCRUB)


def _sleep(target: Target) -> Attempt:
    computer = target.computer()
    computer.boot()
    computer.measured.suspend()
    yield "the machine sleeps (S3); the attacker writes into the VMM's memory with a logic probe"
    computer.pc.memory.write(Hpa(VMM_BASE + PAGE_SIZE), b"implant!")
    computer.measured.resume()
    yield "it wakes, and what was the VMM goes on"
    return started(target, computer)


def _unsealing(target: Target) -> Attempt:
    computer = target.computer()
    computer.boot()
    tpm = computer.platform.tpm
    sealed = tpm.seal(_SECRET, b"" if target.lacks(Mechanism.SEAL) else _shown(computer).policy)
    yield "the VMM keeps a key on the disk, sealed by the TPM; the attacker boots a system of his own"
    computer.boot(tamper=_SKIPPED)
    first = _unsealed(target, computer, sealed)
    if first.succeeded:
        return first
    yield first.record
    yield "and tells the TPM that the VMM was launched"
    try:
        replay(target, computer, _log_of_launch(target))
    except LocalityClosed as error:
        yield error.message
    return _unsealed(target, computer, sealed)


def _shown(computer: Computer) -> PolicySession:
    """A session that shows the launch's registers as they are, and the VMM's locality."""
    session = PolicySession()
    computer.platform.tpm.policy_pcr(session, _LAUNCH)
    session.show_localities((_VMM_LOCALITY,))
    return session


def _unsealed(target: Target, computer: Computer, sealed: SealedData) -> Verdict:
    locality = _VMM_LOCALITY if target.lacks(Mechanism.TPM_LOCALITY) else 0
    try:
        secret = computer.platform.tpm.unseal(sealed, _shown(computer), locality)
    except TpmError as error:
        return Verdict(f"TPM2_Unseal at locality {locality}: {error.message}", Mechanism.SEAL)
    return Verdict(f"TPM2_Unseal at locality {locality} gives {len(secret)} bytes")


def _log_of_launch(target: Target) -> bytes:
    """What anybody can work out from public files: here another machine like this one does."""
    another = Computer(target.supplies, target.without - {Mechanism.TXT})
    another.boot()
    return another.measured.evidence(b"").event_log


SCENARIOS: Final = (
    Scenario(
        "reset-attack",
        "Somebody resets the machine and reads the VMM's secrets out of memory.",
        "S16",
        (layer(Mechanism.SCRUB, Mechanism.BIOS_ACM, Mechanism.TXT),),
        _reset_attack,
    ),
    Scenario(
        "s3-resume",
        "The VMM is changed while the machine sleeps.",
        "S14, D14",
        (layer(Mechanism.GATE),),
        _sleep,
    ),
    Scenario(
        "unseal-by-another",
        "A system of the attacker's asks the TPM for the key that the VMM sealed.",
        "S14, S16",
        (layer(Mechanism.SEAL, Mechanism.TPM_LOCALITY),),
        _unsealing,
    ),
)

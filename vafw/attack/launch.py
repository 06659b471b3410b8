"""Attacks on the launch: another VMM, a changed one, a SINIT that was good once, or no launch at all (S14, S16, S17).

The aim is always the same: the attacker's code runs where the VMM ought to, and the appliances and the user OS are
started all the same. So what decides in the end is the gate, and what comes before it is SINIT and the owner's policy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vafw.address import PAGE_SIZE, Hpa
from vafw.attack import record
from vafw.attack.computer import Computer
from vafw.attack.mechanism import Mechanism
from vafw.attack.scenario import Attempt, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.hw.pc import REMAPPING_UNIT
from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.rc import TpmError
from vafw.hw.txt.bits import ALIAS_REGISTERS, PUBLIC_SPACE
from vafw.hw.txt.outcome import TxtError
from vafw.hw.vtd.registers import OFFSETS, ProtectedMemoryEnable
from vafw.provider.model import measure
from vafw.provider.model.loader import VMM_BASE, LaunchComponent, LaunchFiles, Tamper
from vafw.provider.model.tamper import TamperPlan
from vafw.vmm.image import build_image, image_hash

_GATE: Final = layer(Mechanism.GATE)
_POLICY: Final = layer(Mechanism.LCP, Mechanism.TXT)
"""The owner's policy, which only a measured launch looks at."""
_IMPLANT: Final = b"implant!"
_ORDINARY_MEMORY: Final = Hpa(48 << 20)
"""Above what the loader places, below what VMs get."""
_EVIL_SOURCE: Final = {"evil.py": b"# a VMM that does as it is told, by somebody else\n" * 100}


def _flipped_sinit(target: Target) -> Attempt:
    yield "one bit of SINIT is flipped in memory, between the loader and GETSEC[SENTER]"
    return started(target, *_tampered(target, LaunchComponent.SINIT))


def _flipped_vmm(target: Target) -> Attempt:
    yield "one bit of the VMM is flipped in memory, between the loader and GETSEC[SENTER]"
    return started(target, *_tampered(target, LaunchComponent.VMM))


def _blue_pill(target: Target) -> Attempt:
    evil = build_image(_EVIL_SOURCE)
    yield f"the loader brings a VMM of the attacker's, {len(evil)} bytes, that will run the honest one as its guest"
    computer = target.computer()
    error = computer.boot(replace(computer.supplies.files, vmm=evil, policy_data=computer.owner.data.encode()))
    return started(target, computer, error)


def _forged_policy_data(target: Target) -> Attempt:
    evil = build_image(_EVIL_SOURCE)
    data = measure.owner_policy([image_hash(evil)]).data
    yield "the attacker's VMM comes with policy data in memory that list its hash"
    computer = target.computer()
    error = computer.boot(LaunchFiles(computer.supplies.files.sinit, evil, data.encode()))
    return started(target, computer, error)


def _rewritten_policy(target: Target) -> Attempt:
    evil = build_image(_EVIL_SOURCE)
    owner = measure.owner_policy([image_hash(evil)])
    computer = target.computer()
    computer.boot()
    yield "an administrator of the last boot writes the attacker's policy over the owner's, in the TPM"
    refusal = ""
    try:
        computer.platform.tpm.nv_write(LCP_OWNER_INDEX, owner.policy.encode())
    except TpmError as error:
        refusal = error.message
        yield refusal
    yield "the next boot brings the attacker's VMM with policy data that list its hash"
    broken = computer.boot(LaunchFiles(computer.supplies.files.sinit, evil, owner.data.encode()))
    if broken is not None and refusal:
        return Verdict(f"{refusal}; {record.of_launch(broken).record}", Mechanism.NV_LOCK)
    return started(target, computer, broken)


def _old_sinit(target: Target) -> Attempt:
    old = measure.SINIT_VERSION - 1
    yield f"the loader brings SINIT version {old}: signed, and known by now to have a hole"
    computer = target.computer()
    files = replace(computer.supplies.files, sinit=measure.sinit_module(old), policy_data=computer.owner.data.encode())
    return started(target, computer, computer.boot(files))


def _sub_virt(target: Target) -> Attempt:
    yield "a VMM that was installed below the boot loader starts everything itself, and launches nothing"
    computer = target.computer()
    computer.boot(tamper=TamperPlan("launch", at_launch=Tamper(LaunchComponent.LAUNCH)))
    return started(target, computer, None)


def _alias(target: Target) -> Attempt:
    computer = target.computer()
    memory, chipset = computer.pc.memory, computer.platform.chipset
    window = _ORDINARY_MEMORY
    inside = VMM_BASE + PAGE_SIZE
    computer.measured.power_on()
    yield f"software sets an aliasing register, so that {window:#x} leads to {inside:#x}, in the VMM, and presses reset"
    _set_alias(computer, window, inside)
    steps = computer.measured.reset()
    if target.lacks(Mechanism.BIOS_ACM):
        _set_alias(computer, window, inside)
    error = computer.start()
    if error is not None:
        return record.of_launch(error)
    yield f"after the launch a device writes to {window:#x}, which no range protects"
    chipset.device_write(window, _IMPLANT)
    if memory.read(Hpa(inside), len(_IMPLANT)) != _IMPLANT:
        done = next(each for each in steps if each.name == "reset aliasing registers")
        return Verdict(f"BIOS ACM: {done.name}, {done.detail}", Mechanism.BIOS_ACM)
    return started(target, computer)


def _dma_before_tables(target: Target) -> Attempt:
    """Between the launch and the VMM's first table only the regions that SINIT turned on keep devices out."""
    computer = target.computer()
    computer.boot()
    if target.lacks(Mechanism.DMA_PROTECTION):
        computer.platform.chipset.protect()
        computer.pc.memory.write_u32(Hpa(REMAPPING_UNIT + OFFSETS[ProtectedMemoryEnable]), 0)
    place = Hpa(VMM_BASE + PAGE_SIZE)
    yield f"the VMM has been measured and has no tables yet; a card writes into it at {place:#x}"
    fault = computer.evil.dma_write(place, _IMPLANT)
    if computer.pc.memory.read(place, len(_IMPLANT)) == _IMPLANT:
        return Verdict(f"the VMM at {place:#x} is not what was launched any more")
    return Verdict(f"{fault}: the address lies in a protected memory region (PMR)", Mechanism.DMA_PROTECTION)


def started(target: Target, computer: Computer, error: TxtError | None = None) -> Verdict:
    """Whether everything is started on a machine that is not what it ought to be."""
    if error is not None:
        return record.of_launch(error)
    decision = computer.ask()
    if decision.open or target.lacks(Mechanism.GATE):
        return Verdict(f"every VM is started: {decision.reason if decision.open else 'nobody asked the gate'}")
    return record.of_gate(decision)


def _tampered(target: Target, component: LaunchComponent) -> tuple[Computer, TxtError | None]:
    computer = target.computer()
    return computer, computer.boot(tamper=TamperPlan(component, at_launch=Tamper(component)))


def _set_alias(computer: Computer, window: int, inside: int) -> None:
    """By the registers, which are open to any software until memory configuration is locked."""
    values = (window | 1, window + PAGE_SIZE - 1, inside)
    for register, value in zip(ALIAS_REGISTERS[0], values, strict=True):
        computer.pc.memory.write_u64(Hpa(PUBLIC_SPACE + register), value)


SCENARIOS: Final = (
    Scenario(
        "flipped-bit-sinit",
        "One bit of SINIT is changed before the launch.",
        "S16",
        (layer(Mechanism.TXT), _GATE),
        _flipped_sinit,
    ),
    Scenario(
        "flipped-bit-vmm",
        "One bit of the VMM is changed before the launch.",
        "S14, S16",
        (_POLICY, _GATE),
        _flipped_vmm,
    ),
    Scenario(
        "blue-pill",
        "A VMM of the attacker's is launched, to run the honest one as its guest.",
        "S14, S16",
        (_POLICY, _GATE),
        _blue_pill,
    ),
    Scenario(
        "forged-policy-data",
        "A VMM of the attacker's brings policy data along that accept it.",
        "S16",
        (_POLICY, _GATE),
        _forged_policy_data,
    ),
    Scenario(
        "rewritten-policy",
        "Software of the last boot puts the attacker's launch control policy into the TPM.",
        "S16",
        (layer(Mechanism.NV_LOCK, Mechanism.LCP, Mechanism.TXT), _GATE),
        _rewritten_policy,
    ),
    Scenario(
        "old-sinit",
        "A SINIT that was valid once, and has a hole, launches the VMM.",
        "S16",
        (_POLICY, _GATE),
        _old_sinit,
    ),
    Scenario(
        "subvirt",
        "A VMM that starts before the boot loader does without a measured launch.",
        "S14",
        (_GATE,),
        _sub_virt,
    ),
    Scenario(
        "alias-before-launch",
        "A second address of the VMM's memory, set up before the launch, lets a device write into it afterwards.",
        "S17",
        (layer(Mechanism.BIOS_ACM), layer(Mechanism.TXT), _GATE),
        _alias,
    ),
    Scenario(
        "dma-before-tables",
        "A card writes into the VMM after it was measured and before its tables are on.",
        "S4, S16, E1",
        (layer(Mechanism.DMA_PROTECTION, Mechanism.TXT),),
        _dma_before_tables,
    ),
)

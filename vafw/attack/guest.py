"""Attacks by a kernel gone bad: in ring 0 of a VM, with every instruction and every page that the VM has (S11, S15).

The program runs on an extra virtual processor of the VM, over the VM's own tables, as a driver of that kernel would.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

from vafw.address import PAGE_SIZE, Gpa, Hpa
from vafw.attack import record
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import CANARY, Running
from vafw.attack.scenario import Attempt, NotApplicable, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.hw.pc import REMAPPING_UNIT
from vafw.hw.pci.display import Control, Display, DisplayRegister, Picture
from vafw.hw.txt.bits import PRIVATE_SPACE, E2sts, Reg, Sts
from vafw.hw.vmx.bits import ExitReason
from vafw.hw.vmx.ept import AccessKind
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.guest import GuestCpu, GuestFault, GuestProgram
from vafw.hw.vmx.guest import Running as Steps
from vafw.hw.vmx.operation import Access, Hlt, Vmcall
from vafw.hw.vtd.registers import OFFSETS, FaultEventControl
from vafw.vmm.hypercall import Hypercall, Status
from vafw.vmm.vm import Vm

PAYLOAD: Final = b"written by a kernel that left its own memory".ljust(len(CANARY), b".")
_RING_PAGE: Final = struct.Struct("<IIIII")
_MASKED: Final = 1 << 31


def _reads_vmm(target: Target) -> Attempt:
    running = target.running
    page = running.page_of_vmm()
    yield f"the user OS's kernel maps guest-physical {page:#x} and reads it: memory of the VMM"
    verdict = _read(running, running.user_os, page)
    running.give_back(page)
    return verdict


def _writes_user_os(target: Target) -> Attempt:
    running = target.running
    attacker = running.first_appliance
    page = running.page_of(running.user_os)
    yield f"the kernel of {attacker.name}, owned from the wire, writes to {page:#x}: memory of the user OS"
    return _write(running, attacker, page, PAYLOAD, CANARY)


def _masks_faults(target: Target) -> Attempt:
    """FECTL.IM: the VMM would hear of no blocked request any more."""
    running = target.running
    register = Hpa(REMAPPING_UNIT + OFFSETS[FaultEventControl])
    before = running.memory.read_u32(register)
    running.memory.write_u32(register, 0)
    yield f"the user OS's kernel writes FECTL of the remapping unit at {register:#x}, to hide what is blocked"
    running.expose(running.user_os, REMAPPING_UNIT)
    exits = _run(running, running.user_os, Access(Gpa(register), 4, AccessKind.WRITE, _MASKED.to_bytes(4, "little")))
    masked = bool(running.memory.read_u32(register) & _MASKED)
    running.hide(running.user_os, REMAPPING_UNIT)
    running.memory.write_u32(register, before)
    return Verdict("FECTL.IM is set") if masked else _stopped(exits, register)


def _takes_secrets_back(target: Target) -> Attempt:
    """TXT.CMD.NO-SECRETS: the next reset would leave memory as it is."""
    running = target.running
    register = Hpa(PRIVATE_SPACE + Reg.CMD_NO_SECRETS)
    chipset = running.computer.platform.chipset
    if not chipset.status & Sts.PRIVATE_OPEN:
        raise NotApplicable("a measured VMM must have told the chipset of its secrets for anybody to take that back")
    before = chipset.get(Reg.E2STS)
    chipset.hw_set(Reg.E2STS, E2sts.SECRETS)
    yield f"the user OS's kernel writes TXT.CMD.NO-SECRETS at {register:#x}, so that no reset clears memory"
    page = Hpa(register & ~(PAGE_SIZE - 1))
    running.expose(running.user_os, page)
    exits = _run(running, running.user_os, Access(Gpa(register), 1, AccessKind.WRITE, b"\1"))
    taken = not chipset.get(Reg.E2STS) & E2sts.SECRETS
    running.hide(running.user_os, page)
    chipset.hw_set(Reg.E2STS, before)
    return Verdict("TXT.E2STS says that there are no secrets") if taken else _stopped(exits, register)


def _confuses_the_vmm(target: Target) -> Attempt:
    """The VMM writes HEAD into the registers page of a ring: a guest that could name any page could write any page."""
    running = target.running
    attacker, victim = running.first_appliance, running.user_os
    if not attacker.ports:
        raise NotApplicable("the first appliance must have a link whose rings can be misplaced")
    page = running.page_of(victim)
    forged = _RING_PAGE.pack(page & 0xFFFF_FFFF, page >> 32, 2, 0x66, 0)
    running.memory.write(page, forged * 2)
    yield f"the kernel of {attacker.name} asks the VMM by VMCALL to keep its rings at {page:#x}: memory of the user OS"
    answers: list[object] = []
    running.expose(attacker, page)
    running.vmm.run_beside(attacker.name, _calling(Vmcall(Hypercall.LINK_SETUP, 0, page), answers))
    changed = running.memory.read(page, len(forged)) != forged
    running.hide(attacker, page)
    if changed:
        return Verdict(f"the VMM wrote into {page:#x} of {victim.name} on behalf of {attacker.name}")
    answer = Status(answers[0]) if answers and isinstance(answers[0], int) else Status.BAD_ADDRESS
    return Verdict(
        f"VMCALL LINK_SETUP answers {answer.name}: the address is looked up in the caller's EPT", Mechanism.EPT
    )


def _draws_foreign_memory(target: Target) -> Attempt:
    """The driver of the assigned display: it may write every register of it, and the display fetches by DMA."""
    running = target.running
    display = running.pc.function(running.display())
    victim = running.first_appliance
    page = running.page_of(victim)
    window = running.user_os.assignments[display.bdf].information.window
    yield f"the user OS's display driver points the frame buffer at {page:#x}: memory of {victim.name}"
    saved = {each: display.mmio_read(each, 4) for each in DisplayRegister}
    settings = {
        DisplayRegister.BASE_LO: page & 0xFFFF_FFFF,
        DisplayRegister.BASE_HI: page >> 32,
        DisplayRegister.WIDTH: len(CANARY) // 4,
        DisplayRegister.HEIGHT: 1,
        DisplayRegister.STRIDE: len(CANARY),
        DisplayRegister.CTRL: Control.pack(ENABLE=1),
    }
    running.vmm.run_beside(running.user_os.name, _storing(window, settings))
    running.faults()
    picture = display.scan_out() if isinstance(display, Display) else None
    for register, value in saved.items():
        display.mmio_write(register, 4, value)
    if isinstance(picture, Picture) and picture.rgb == _as_rgb(CANARY):
        return Verdict(f"the screen shows {len(CANARY)} bytes of {victim.name}")
    recorded = running.faults()
    if recorded:
        return record.of_fault(recorded[0])
    landed = running.user_os.ranges[0].hpa + page
    return Verdict(f"address {page:#x} led to {landed:#x}, memory of the user OS itself", Mechanism.VT_D)


def _read(running: Running, attacker: Vm, page: Hpa) -> Verdict:
    got: list[object] = []
    running.expose(attacker, page)
    exits = running.vmm.run_beside(attacker.name, _accessing(Access(Gpa(page), len(CANARY)), got))
    running.hide(attacker, page)
    if got == [CANARY]:
        return Verdict(f"{attacker.name} read {len(CANARY)} bytes of host address {page:#x}")
    return _stopped(exits, page)


def _write(running: Running, attacker: Vm, page: Hpa, data: bytes, before: bytes) -> Verdict:
    running.expose(attacker, page)
    exits = _run(running, attacker, Access(Gpa(page), len(data), AccessKind.WRITE, data))
    reached = running.memory.read(page, len(data)) == data
    running.hide(attacker, page)
    running.memory.write(page, before)
    return Verdict(f"{attacker.name} wrote to host address {page:#x}") if reached else _stopped(exits, page)


def _run(running: Running, attacker: Vm, access: Access) -> tuple[VmExit, ...]:
    return running.vmm.run_beside(attacker.name, _accessing(access, []))


def _stopped(exits: tuple[VmExit, ...], address: int) -> Verdict:
    left = next((each for each in exits if each.reason is ExitReason.EPT_VIOLATION), None)
    if left is not None:
        return record.of_exit(left, address)
    return Verdict(f"address {address:#x} is the guest's own memory", Mechanism.EPT)


def _accessing(access: Access, got: list[object]) -> GuestProgram:
    def program(cpu: GuestCpu) -> Steps:
        with suppress(GuestFault):
            got.append((yield access))
        yield Hlt()

    return program


def _calling(call: Vmcall, answers: list[object]) -> GuestProgram:
    def program(cpu: GuestCpu) -> Steps:
        answers.append((yield call))
        yield Hlt()

    return program


def _storing(window: int, settings: dict[DisplayRegister, int]) -> GuestProgram:
    def program(cpu: GuestCpu) -> Steps:
        for register, value in settings.items():
            cpu.write_u32(window + register, value)
        yield Hlt()

    return program


def _as_rgb(raw: bytes) -> bytes:
    """Bytes of memory as the screen shows them: blue, green, red and one that is left out."""
    return b"".join(raw[at + 2 : at + 3] + raw[at + 1 : at + 2] + raw[at : at + 1] for at in range(0, len(raw), 4))


SCENARIOS: Final = (
    Scenario(
        "guest-reads-vmm",
        "The user OS's kernel reads the VMM's memory.",
        "S11, S15",
        (layer(Mechanism.EPT),),
        _reads_vmm,
    ),
    Scenario(
        "guest-writes-user-os",
        "An appliance's kernel, owned from the wire, writes into the user OS.",
        "S11, S13, S15",
        (layer(Mechanism.EPT),),
        _writes_user_os,
    ),
    Scenario(
        "guest-masks-faults",
        "The user OS's kernel reaches the remapping unit's registers.",
        "S7, S11, E13",
        (layer(Mechanism.EPT),),
        _masks_faults,
    ),
    Scenario(
        "guest-clears-secrets",
        "The user OS's kernel takes back what the VMM told the chipset about its secrets.",
        "S11, S16",
        (layer(Mechanism.EPT),),
        _takes_secrets_back,
    ),
    Scenario(
        "guest-misplaces-rings",
        "An appliance's kernel has the VMM write where it may not write itself.",
        "S11, S15",
        (layer(Mechanism.EPT),),
        _confuses_the_vmm,
    ),
    Scenario(
        "driver-gone-bad",
        "A driver in ring 0 of the user OS uses the display to read an appliance's memory.",
        "S4, S13, E1",
        (layer(Mechanism.VT_D),),
        _draws_foreign_memory,
    ),
)

"""What each instruction of a guest does where it does not exit: control registers, MSRs, the TLB, flags, ports.

`CARRY_OUT` has one function for each kind of operation. It asks `intercept` first, then carries the operation out and
says so (`Execution.finish`), or gives the fault that the instruction raises. Ports that do not exit have nothing behind
them: they read as ones. (SDM volume 2 for each instruction; volume 3, "Changes to Instruction Behavior in VMX Non-Root
Operation".)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vafw.hw.vmx import intercept
from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE,
    CR0_PG,
    CR0_RESERVED,
    CR0_TS,
    CR4_PAE,
    CR4_PCIDE,
    CR4_PGE,
    CR4_SMEP,
    CR4_SUPPORTED,
    CR4_VMXE,
    EFER_LMA,
    EFER_LME,
    EFER_SUPPORTED,
    GENERAL_PROTECTION,
    RFLAGS_IF,
    EntryControl,
    ExitReason,
    Interruptibility,
    PrimaryControl,
    SecondaryControl,
    SegmentRights,
    VmcsField,
)
from vafw.hw.vmx.delivery import interrupt_return
from vafw.hw.vmx.entry_host import is_canonical
from vafw.hw.vmx.ept import Misconfiguration, Violation
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.msr import EFER, FIELD_OF, SHARED, TSC, capability_msr, is_valid
from vafw.hw.vmx.operation import (
    Cli,
    Clts,
    In,
    Invlpg,
    Iret,
    LoadIdt,
    LoadStack,
    MoveFromCr,
    MoveToCr,
    Nop,
    Operation,
    Out,
    Rdmsr,
    Rdtsc,
    Sti,
    Wrmsr,
)
from vafw.hw.vmx.paging import Fault

if TYPE_CHECKING:  # it calls the functions of this module
    from vafw.hw.vmx.execution import Execution

Outcome: TypeAlias = VmExit | Fault | Violation | Misconfiguration | None
_GP: Final = Fault(GENERAL_PROTECTION, 0)
_FLUSHING_CR4: Final = CR4_PGE | CR4_PAE | CR4_PCIDE | CR4_SMEP
_ALL_ONES: Final = 0xFFFF_FFFF
_FIELD: Final = {0: VmcsField.GUEST_CR0, 3: VmcsField.GUEST_CR3, 4: VmcsField.GUEST_CR4}


def has_result(operation: Operation) -> bool:
    """Whether a VMM that completes the operation for the guest leaves a result in RAX."""
    return isinstance(operation, MoveFromCr | In | Rdmsr | Rdtsc)


# -- control registers --------------------------------------------------------------------------------------------


def _move_to_cr(run: Execution, operation: MoveToCr) -> Outcome:
    left = intercept.move_to_cr(run.fields, operation)
    if left is not None:
        run.processor.registers.rax = operation.value
        return left
    refused = {0: _load_cr0, 3: _load_cr3, 4: _load_cr4}[operation.number](run, operation.value)
    return refused or run.finish()


def _load_cr0(run: Execution, value: int) -> Fault | None:
    fields, paging = run.fields, run.guest.cpu.paging
    before, mask = fields[VmcsField.GUEST_CR0], fields[VmcsField.CR0_MASK]
    new = value & ~mask | before & mask
    fixed = CR0_FIXED if _unrestricted(fields) else CR0_FIXED | CR0_PE | CR0_PG
    if new & CR0_RESERVED or new & fixed != fixed or (new & CR0_PG and not new & CR0_PE):
        return _GP
    if new & CR0_PG and not (fields[VmcsField.GUEST_CR4] & CR4_PAE and paging.efer & EFER_LME):
        return _GP
    if before & ~new & CR0_PG and fields[VmcsField.GUEST_CS_RIGHTS] & SegmentRights.L.mask:
        return _GP  # 64-bit code cannot turn its own paging off
    fields[VmcsField.GUEST_CR0] = new
    if (new ^ before) & CR0_PG:
        long_mode = bool(new & CR0_PG)
        paging.efer = paging.efer | EFER_LMA if long_mode else paging.efer & ~EFER_LMA
        controls = fields[VmcsField.ENTRY_CONTROLS] & ~int(EntryControl.IA32E_GUEST)
        fields[VmcsField.ENTRY_CONTROLS] = controls | (int(EntryControl.IA32E_GUEST) if long_mode else 0)
        run.guest.cpu.choose_mode()
        run.guest.cpu.flush()
    return None


def _load_cr3(run: Execution, value: int) -> Fault | None:
    cpu, pcids = run.guest.cpu, run.fields[VmcsField.GUEST_CR4] & CR4_PCIDE
    address = value & ~(1 << 63) if pcids else value
    if address >> cpu.physical_bits:
        return _GP
    if cpu.pages:
        cpu.paging.load_cr3(value)
    else:
        run.fields[VmcsField.GUEST_CR3] = address
    return None


def _load_cr4(run: Execution, value: int) -> Fault | None:
    fields = run.fields
    before, mask = fields[VmcsField.GUEST_CR4], fields[VmcsField.CR4_MASK]
    new = value & ~mask | before & mask
    long_mode = run.guest.cpu.paging.efer & EFER_LMA
    if new & ~CR4_SUPPORTED or not new & CR4_VMXE or (long_mode and not new & CR4_PAE):
        return _GP
    if new & ~before & CR4_PCIDE and (not long_mode or fields[VmcsField.GUEST_CR3] & 0xFFF):
        return _GP
    fields[VmcsField.GUEST_CR4] = new
    if (new ^ before) & _FLUSHING_CR4:
        run.guest.cpu.flush()
    return None


def _move_from_cr(run: Execution, operation: MoveFromCr) -> Outcome:
    left = intercept.move_from_cr(run.fields, operation)
    if left is not None:
        return left
    if operation.number == 3:
        return run.finish(run.fields[VmcsField.GUEST_CR3])
    return run.finish(intercept.read_cr(run.fields, operation.number))


def _clts(run: Execution, operation: Clts) -> Outcome:
    left = intercept.clts(run.fields, operation)
    if left is not None:
        return left
    run.fields[VmcsField.GUEST_CR0] &= ~(CR0_TS & ~run.fields[VmcsField.CR0_MASK])
    return run.finish()


def _invlpg(run: Execution, operation: Invlpg) -> Outcome:
    if run.fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.INVLPG_EXITING:
        return VmExit(ExitReason.INVLPG, operation.address, instruction_length=operation.length)
    if run.guest.cpu.pages:
        run.guest.cpu.paging.invlpg(operation.address)
    return run.finish()


# -- ports and model-specific registers ---------------------------------------------------------------------------


def _in(run: Execution, operation: In) -> Outcome:
    left = intercept.io(run.fields, run.memory, operation)
    return left or run.finish(_ALL_ONES >> 32 - 8 * operation.size)


def _out(run: Execution, operation: Out) -> Outcome:
    left = intercept.io(run.fields, run.memory, operation)
    if left is not None:
        run.processor.registers.rax = operation.value
    return left or run.finish()


def _rdmsr(run: Execution, operation: Rdmsr) -> Outcome:
    left = intercept.msr(run.fields, run.memory, operation)
    if left is not None:
        run.processor.registers.rcx = operation.index
        return left
    value = read_msr(run, operation.index)
    return _GP if value is None else run.finish(value)


def read_msr(run: Execution, index: int) -> int | None:
    """RDMSR without its intercept; None is #GP."""
    cpu = run.guest.cpu
    if index == TSC:
        return cpu.tsc()
    if index == EFER:
        return cpu.paging.efer
    if index in FIELD_OF:
        return run.fields[FIELD_OF[index]]
    if index in SHARED:
        return run.processor.msrs.get(index, 0)
    return capability_msr(index, cpu.capability)


def _wrmsr(run: Execution, operation: Wrmsr) -> Outcome:
    left = intercept.msr(run.fields, run.memory, operation)
    if left is not None:
        registers = run.processor.registers
        registers.rcx, registers.rax, registers.rdx = (
            operation.index,
            operation.value & _ALL_ONES,
            operation.value >> 32,
        )
        return left
    return run.finish() if write_msr(run, operation.index, operation.value) else _GP


def write_msr(run: Execution, index: int, value: int) -> bool:
    """WRMSR without its intercept; False is #GP."""
    if index == EFER:
        paging = run.guest.cpu.paging
        if value & ~EFER_SUPPORTED or (run.guest.cpu.pages and (value ^ paging.efer) & EFER_LME):
            return False
        paging.efer = value & ~EFER_LMA | paging.efer & EFER_LMA
        return True
    if not is_valid(index, value):
        return False
    if index in FIELD_OF:
        run.fields[FIELD_OF[index]] = value
    elif index in SHARED:
        run.processor.msrs[index] = value
    return index in FIELD_OF or index in SHARED


def _rdtsc(run: Execution, operation: Rdtsc) -> Outcome:
    if run.fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.RDTSC_EXITING:
        return VmExit(ExitReason.RDTSC, instruction_length=operation.length)
    return run.finish(run.guest.cpu.tsc())


# -- flags, tables, the stack -------------------------------------------------------------------------------------


def _sti(run: Execution, operation: Sti) -> Outcome:
    """Interrupts stay blocked for one more instruction, where they were masked."""
    if not run.fields[VmcsField.GUEST_RFLAGS] & RFLAGS_IF:
        run.fields[VmcsField.GUEST_INTERRUPTIBILITY] |= int(Interruptibility.BLOCKING_BY_STI)
    run.fields[VmcsField.GUEST_RFLAGS] |= RFLAGS_IF
    return run.finish()


def _cli(run: Execution, operation: Cli) -> Outcome:
    run.fields[VmcsField.GUEST_RFLAGS] &= ~RFLAGS_IF
    return run.finish()


def _load_idt(run: Execution, operation: LoadIdt) -> Outcome:
    if not is_canonical(operation.base):
        return _GP
    run.fields[VmcsField.GUEST_IDTR_BASE] = operation.base
    run.fields[VmcsField.GUEST_IDTR_LIMIT] = operation.limit & 0xFFFF
    return run.finish()


def _load_stack(run: Execution, operation: LoadStack) -> Outcome:
    run.fields[VmcsField.GUEST_RSP] = operation.pointer
    return run.finish()


def _nop(run: Execution, operation: Nop) -> Outcome:
    return run.finish()


def _iret(run: Execution, operation: Iret) -> Outcome:
    if not run.guest.suspended:
        return _GP
    refused = interrupt_return(run.guest, run.fields)
    if refused is None:
        run.after_return()
    return refused


def _unrestricted(fields: dict[int, int]) -> bool:
    return bool(
        fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.ACTIVATE_SECONDARY
        and fields[VmcsField.SECONDARY_CONTROLS] & SecondaryControl.UNRESTRICTED_GUEST
    )


CARRY_OUT: Final[Mapping[type, Callable[[Execution, Any], Outcome]]] = {
    MoveToCr: _move_to_cr,
    MoveFromCr: _move_from_cr,
    Clts: _clts,
    Invlpg: _invlpg,
    In: _in,
    Out: _out,
    Rdmsr: _rdmsr,
    Wrmsr: _wrmsr,
    Rdtsc: _rdtsc,
    Sti: _sti,
    Cli: _cli,
    LoadIdt: _load_idt,
    LoadStack: _load_stack,
    Nop: _nop,
    Iret: _iret,
}

"""Which instruction of a guest exits: the VM-execution controls, bitmaps, masks and shadows, read and nothing else.

Each function takes the VMCS's fields and an operation and gives the VM exit, or None where the instruction goes
through. (SDM volume 3, "VMX Non-Root Operation": "Instructions That Cause VM Exits", "Other Causes of VM Exits";
"Exit Qualification".)
"""

from __future__ import annotations

from typing import Final

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    CR0_TS,
    EXCEPTIONS_WITH_ERROR_CODE,
    PAGE_FAULT,
    CrAccess,
    ExitReason,
    Interruption,
    InterruptionType,
    IoAccess,
    PrimaryControl,
    VmcsField,
)
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.operation import Clts, In, MoveFromCr, MoveToCr, Out, Rdmsr, Wrmsr
from vafw.hw.vmx.paging import Fault

_LOW_MSRS: Final = range(0x2000)
_HIGH_MSRS: Final = range(0xC000_0000, 0xC000_2000)
_MOVE_TO, _MOVE_FROM, _CLTS = 0, 1, 2
_MASKS: Final = {
    0: (VmcsField.CR0_MASK, VmcsField.CR0_SHADOW),
    4: (VmcsField.CR4_MASK, VmcsField.CR4_SHADOW),
}
SOFTWARE_EXCEPTIONS: Final = frozenset({3, 4})
"""#BP and #OF, which INT3 and INTO raise."""


def move_to_cr(fields: dict[int, int], operation: MoveToCr) -> VmExit | None:
    """CR0 and CR4 exit where a masked bit would differ from its shadow; CR3 but for the CR3-target values."""
    if operation.number == 3:
        if not fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.CR3_LOAD_EXITING:
            return None
        targets = [fields[VmcsField.CR3_TARGET_0 + 2 * each] for each in range(fields[VmcsField.CR3_TARGETS])]
        if operation.value in targets:
            return None
    else:
        mask, shadow = _MASKS[operation.number]
        if not (operation.value ^ fields[shadow]) & fields[mask]:
            return None
    return _cr_exit(operation.number, _MOVE_TO, operation.length)


def move_from_cr(fields: dict[int, int], operation: MoveFromCr) -> VmExit | None:
    """Only CR3 can exit; of CR0 and CR4 a guest reads the shadow's masked bits."""
    if operation.number == 3 and fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.CR3_STORE_EXITING:
        return _cr_exit(3, _MOVE_FROM, operation.length)
    return None


def read_cr(fields: dict[int, int], number: int) -> int:
    """CR0 or CR4 as the guest reads it."""
    mask, shadow = _MASKS[number]
    own = fields[VmcsField.GUEST_CR0 if number == 0 else VmcsField.GUEST_CR4]
    return own & ~fields[mask] | fields[shadow] & fields[mask]


def clts(fields: dict[int, int], operation: Clts) -> VmExit | None:
    """Exits where the VMM owns CR0.TS and shows it set."""
    owned = fields[VmcsField.CR0_MASK] & fields[VmcsField.CR0_SHADOW] & CR0_TS
    return _cr_exit(0, _CLTS, operation.length) if owned else None


def io(fields: dict[int, int], memory: PhysicalMemory, operation: In | Out) -> VmExit | None:
    """By bitmaps A (ports to 0x7fff) and B where they are used, else always or never; a wrap past 0xffff exits."""
    primary = fields[VmcsField.PRIMARY_CONTROLS]
    if primary & PrimaryControl.USE_IO_BITMAPS:
        ports = range(operation.port, operation.port + operation.size)
        exits = ports[-1] > 0xFFFF or any(_port_bit(fields, memory, each) for each in ports)
    else:
        exits = bool(primary & PrimaryControl.UNCONDITIONAL_IO_EXITING)
    if not exits:
        return None
    qualification = IoAccess.pack(SIZE=operation.size - 1, IN=int(isinstance(operation, In)), PORT=operation.port)
    if operation.port <= 0xFF:
        qualification |= IoAccess.IMMEDIATE.mask
    return VmExit(ExitReason.IO_INSTRUCTION, qualification, instruction_length=operation.length)


def msr(fields: dict[int, int], memory: PhysicalMemory, operation: Rdmsr | Wrmsr) -> VmExit | None:
    """By the bitmap's four quarters (read low, read high, write low, write high); others always exit."""
    write, index = isinstance(operation, Wrmsr), operation.index
    if fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.USE_MSR_BITMAPS:
        quarter = (0x800 if write else 0) + (0x400 if index in _HIGH_MSRS else 0)
        if index in _LOW_MSRS or index in _HIGH_MSRS:
            place = fields[VmcsField.MSR_BITMAP] + quarter + ((index & 0x1FFF) >> 3)
            if not memory.read(Hpa(place), 1)[0] >> (index & 7) & 1:
                return None
    reason = ExitReason.WRMSR if write else ExitReason.RDMSR
    return VmExit(reason, instruction_length=operation.length)


def exception(fields: dict[int, int], fault: Fault) -> bool:
    """Whether the exception bitmap, for #PF with the error code's mask and match, takes an exception to the VMM."""
    chosen = bool(fields[VmcsField.EXCEPTION_BITMAP] >> fault.vector & 1)
    if fault.vector != PAGE_FAULT:
        return chosen
    masked = (fault.error_code or 0) & fields[VmcsField.PAGE_FAULT_MASK]
    return chosen == (masked == fields[VmcsField.PAGE_FAULT_MATCH])


def exception_exit(fault: Fault, length: int) -> VmExit:
    """The exit of an intercepted exception; `length` counts for those that an instruction raises on purpose."""
    software = fault.vector in SOFTWARE_EXCEPTIONS
    return VmExit(
        ExitReason.EXCEPTION_OR_NMI,
        fault.linear or 0,
        instruction_length=length if software else 0,
        interruption=event_information(fault),
        error_code=fault.error_code or 0,
    )


def event_information(fault: Fault) -> int:
    """An exception in the format of the interruption-information fields."""
    software = fault.vector in SOFTWARE_EXCEPTIONS
    kind = InterruptionType.SOFTWARE_EXCEPTION if software else InterruptionType.HARDWARE_EXCEPTION
    has_code = int(fault.vector in EXCEPTIONS_WITH_ERROR_CODE)
    return Interruption.pack(VECTOR=fault.vector, TYPE=kind, ERROR_CODE=has_code, VALID=1)


def _port_bit(fields: dict[int, int], memory: PhysicalMemory, port: int) -> int:
    bitmap = fields[VmcsField.IO_BITMAP_A if port < 0x8000 else VmcsField.IO_BITMAP_B]
    return memory.read(Hpa(bitmap + ((port & 0x7FFF) >> 3)), 1)[0] >> (port & 7) & 1


def _cr_exit(number: int, kind: int, length: int) -> VmExit:
    return VmExit(ExitReason.CR_ACCESS, CrAccess.pack(NUMBER=number, TYPE=kind), instruction_length=length)

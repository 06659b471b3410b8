"""Layouts of VMX: VMCS field encodings, control bits, exit reasons, VM-instruction errors, EPT entries and the EPTP.

Layout only; behaviour lives next door. After the Intel SDM volume 3: appendix "Field Encoding in VMCS", appendix "VMX
Basic Exit Reasons", "VM-Instruction Error Numbers", "The Extended Page Table Mechanism (EPT)". Names are the manual's.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique

from vafw.register import Field, Layout

REVISION = 0x0000_0004
"""The VMCS revision identifier of this processor (IA32_VMX_BASIC bits 30:0)."""
VMCS_BYTES = 4096
"""Size of a VMXON or VMCS region (IA32_VMX_BASIC bits 44:32)."""
NO_LINK = 0xFFFF_FFFF_FFFF_FFFF
"""The VMCS link pointer where there is no linked VMCS."""


@unique
class VmcsField(IntEnum):
    """The fields this processor supports, by encoding."""

    VPID = 0x0000
    GUEST_ES_SELECTOR = 0x0800
    GUEST_CS_SELECTOR = 0x0802
    GUEST_SS_SELECTOR = 0x0804
    GUEST_DS_SELECTOR = 0x0806
    GUEST_FS_SELECTOR = 0x0808
    GUEST_GS_SELECTOR = 0x080A
    GUEST_LDTR_SELECTOR = 0x080C
    GUEST_TR_SELECTOR = 0x080E
    HOST_ES_SELECTOR = 0x0C00
    HOST_CS_SELECTOR = 0x0C02
    HOST_SS_SELECTOR = 0x0C04
    HOST_DS_SELECTOR = 0x0C06
    HOST_FS_SELECTOR = 0x0C08
    HOST_GS_SELECTOR = 0x0C0A
    HOST_TR_SELECTOR = 0x0C0C
    IO_BITMAP_A = 0x2000
    IO_BITMAP_B = 0x2002
    MSR_BITMAP = 0x2004
    EXIT_MSR_STORE = 0x2006
    EXIT_MSR_LOAD = 0x2008
    ENTRY_MSR_LOAD = 0x200A
    TSC_OFFSET = 0x2010
    EPTP = 0x201A
    GUEST_PHYSICAL_ADDRESS = 0x2400
    LINK_POINTER = 0x2800
    GUEST_DEBUGCTL = 0x2802
    GUEST_PAT = 0x2804
    GUEST_EFER = 0x2806
    HOST_PAT = 0x2C00
    HOST_EFER = 0x2C02
    PIN_CONTROLS = 0x4000
    PRIMARY_CONTROLS = 0x4002
    EXCEPTION_BITMAP = 0x4004
    PAGE_FAULT_MASK = 0x4006
    PAGE_FAULT_MATCH = 0x4008
    CR3_TARGETS = 0x400A
    EXIT_CONTROLS = 0x400C
    EXIT_MSR_STORE_COUNT = 0x400E
    EXIT_MSR_LOAD_COUNT = 0x4010
    ENTRY_CONTROLS = 0x4012
    ENTRY_MSR_LOAD_COUNT = 0x4014
    ENTRY_INTERRUPTION = 0x4016
    ENTRY_ERROR_CODE = 0x4018
    ENTRY_INSTRUCTION_LENGTH = 0x401A
    SECONDARY_CONTROLS = 0x401E
    INSTRUCTION_ERROR = 0x4400
    EXIT_REASON = 0x4402
    EXIT_INTERRUPTION = 0x4404
    EXIT_ERROR_CODE = 0x4406
    IDT_VECTORING = 0x4408
    IDT_VECTORING_ERROR_CODE = 0x440A
    INSTRUCTION_LENGTH = 0x440C
    INSTRUCTION_INFORMATION = 0x440E
    GUEST_INTERRUPTIBILITY = 0x4824
    GUEST_ACTIVITY = 0x4826
    CR0_MASK = 0x6000
    CR4_MASK = 0x6002
    CR0_SHADOW = 0x6004
    CR4_SHADOW = 0x6006
    EXIT_QUALIFICATION = 0x6400
    GUEST_LINEAR_ADDRESS = 0x640A
    GUEST_CR0 = 0x6800
    GUEST_CR3 = 0x6802
    GUEST_CR4 = 0x6804
    GUEST_RSP = 0x681C
    GUEST_RIP = 0x681E
    GUEST_RFLAGS = 0x6820
    HOST_CR0 = 0x6C00
    HOST_CR3 = 0x6C02
    HOST_CR4 = 0x6C04
    HOST_RSP = 0x6C14
    HOST_RIP = 0x6C16


class Encoding(Layout, width=32):
    """How a field's encoding is made up (SDM, "VMCS Component Encoding")."""

    HIGH = Field(0, 0)
    INDEX = Field(9, 1)
    TYPE = Field(11, 10)
    WIDTH = Field(14, 13)


READ_ONLY = 1
"""`Encoding.TYPE` of the VM-exit information fields."""
WIDTH_BITS = (16, 64, 32, 64)
"""Bits of a field by `Encoding.WIDTH`: 16-bit, 64-bit, 32-bit, natural width."""


class PinControl(IntFlag):
    """Pin-based VM-execution controls."""

    EXTERNAL_INTERRUPT_EXITING = 1 << 0
    NMI_EXITING = 1 << 3


class PrimaryControl(IntFlag):
    """Primary processor-based VM-execution controls."""

    USE_TSC_OFFSETTING = 1 << 3
    HLT_EXITING = 1 << 7
    ACTIVATE_SECONDARY = 1 << 31


class SecondaryControl(IntFlag):
    """Secondary processor-based VM-execution controls."""

    ENABLE_EPT = 1 << 1
    ENABLE_VPID = 1 << 5
    UNRESTRICTED_GUEST = 1 << 7


class ExitControl(IntFlag):
    """VM-exit controls."""

    HOST_ADDRESS_SPACE_SIZE = 1 << 9
    ACKNOWLEDGE_INTERRUPT = 1 << 15


class EntryControl(IntFlag):
    """VM-entry controls."""

    IA32E_GUEST = 1 << 9


class Interruption(Layout, width=32):
    """VM-entry and VM-exit interruption-information (SDM, "VM-Entry Controls for Event Injection")."""

    VECTOR = Field(7, 0)
    TYPE = Field(10, 8)
    ERROR_CODE = Field(11, 11)
    RESERVED = Field(30, 12)
    VALID = Field(31, 31)


class InterruptionType(IntEnum):
    """`Interruption.TYPE`."""

    EXTERNAL = 0
    RESERVED = 1
    NMI = 2
    HARDWARE_EXCEPTION = 3
    SOFTWARE_INTERRUPT = 4
    PRIVILEGED_SOFTWARE_EXCEPTION = 5
    SOFTWARE_EXCEPTION = 6
    OTHER = 7


EXCEPTIONS_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17})
"""Vectors whose delivery pushes an error code: DF, TS, NP, SS, GP, PF, AC."""
GENERAL_PROTECTION = 13
"""The vector of #GP."""


class Activity(IntEnum):
    """The guest activity state."""

    ACTIVE = 0
    HLT = 1
    SHUTDOWN = 2
    WAIT_FOR_SIPI = 3


RFLAGS_ONE = 1 << 1
"""The bit of RFLAGS that is always 1."""
RFLAGS_IF = 1 << 9
"""RFLAGS.IF: maskable interrupts are taken."""
RFLAGS_RESERVED = 0xFFFF_FFFF_FFC0_8028
"""Bits 63:22, 15, 5 and 3, which must be 0."""
CR0_FIXED = 1 << 5
"""CR0 bits that VMX operation with an unrestricted guest fixes to 1: NE (IA32_VMX_CR0_FIXED0)."""
CR0_PE_PG = 1 << 31 | 1 << 0
"""CR0.PG and CR0.PE, fixed to 1 for the host and for a guest that is not unrestricted."""
CR4_VMXE = 1 << 13
"""CR4.VMXE, fixed to 1 in VMX operation."""


@unique
class ExitReason(IntEnum):
    """Basic exit reasons."""

    EXCEPTION_OR_NMI = 0
    EXTERNAL_INTERRUPT = 1
    TRIPLE_FAULT = 2
    INIT_SIGNAL = 3
    SIPI = 4
    INTERRUPT_WINDOW = 7
    NMI_WINDOW = 8
    TASK_SWITCH = 9
    CPUID = 10
    GETSEC = 11
    HLT = 12
    INVD = 13
    INVLPG = 14
    RDPMC = 15
    RDTSC = 16
    VMCALL = 18
    VMCLEAR = 19
    VMLAUNCH = 20
    VMPTRLD = 21
    VMPTRST = 22
    VMREAD = 23
    VMRESUME = 24
    VMWRITE = 25
    VMXOFF = 26
    VMXON = 27
    CR_ACCESS = 28
    DR_ACCESS = 29
    IO_INSTRUCTION = 30
    RDMSR = 31
    WRMSR = 32
    INVALID_GUEST_STATE = 33
    MSR_LOADING = 34
    EPT_VIOLATION = 48
    EPT_MISCONFIGURATION = 49
    INVEPT = 50
    PREEMPTION_TIMER = 52
    INVVPID = 53
    WBINVD = 54
    XSETBV = 55


ENTRY_FAILURE = 1 << 31
"""Bit 31 of the exit reason: the VM entry failed after the host state was checked."""
LINK_POINTER_INVALID = 4
"""Qualification of an entry failure that the VMCS link pointer caused."""


@unique
class VmError(IntEnum):
    """VM-instruction errors."""

    VMCALL_IN_ROOT = 1
    VMCLEAR_INVALID_ADDRESS = 2
    VMCLEAR_VMXON_POINTER = 3
    VMLAUNCH_NOT_CLEAR = 4
    VMRESUME_NOT_LAUNCHED = 5
    INVALID_CONTROLS = 7
    INVALID_HOST_STATE = 8
    VMPTRLD_INVALID_ADDRESS = 9
    VMPTRLD_VMXON_POINTER = 10
    VMPTRLD_WRONG_REVISION = 11
    UNSUPPORTED_COMPONENT = 12
    READ_ONLY_COMPONENT = 13
    VMXON_IN_ROOT = 15
    INVALID_OPERAND = 28


class Eptp(Layout):
    """The EPT pointer."""

    MEMORY_TYPE = Field(2, 0)
    WALK_LENGTH = Field(5, 3)
    """Levels of the walk, less one."""
    ACCESSED_DIRTY = Field(6, 6)
    RESERVED = Field(11, 7)
    ROOT = Field(51, 12)
    HIGH = Field(63, 52)


class EptEntry(Layout):
    """An entry of an EPT paging structure, the bits of a leaf named; 11, 52 to 62 and 63 (#VE off) are ignored."""

    R = Field(0, 0)
    W = Field(1, 1)
    X = Field(2, 2)
    MEMORY_TYPE = Field(5, 3)
    IPAT = Field(6, 6)
    PS = Field(7, 7)
    A = Field(8, 8)
    D = Field(9, 9)
    ADDRESS = Field(51, 12)


class MemoryType(IntEnum):
    """Memory types of a leaf and of the EPTP; 2, 3 and 7 are reserved."""

    UC = 0
    WC = 1
    WT = 4
    WP = 5
    WB = 6


class EptViolation(Layout):
    """The exit qualification of an EPT violation (SDM, "Exit Qualification for EPT Violations")."""

    READ = Field(0, 0)
    WRITE = Field(1, 1)
    FETCH = Field(2, 2)
    READABLE = Field(3, 3)
    WRITABLE = Field(4, 4)
    EXECUTABLE = Field(5, 5)
    LINEAR_VALID = Field(7, 7)
    FINAL = Field(8, 8)
    """1: the access was to the translated address; 0: to a guest paging-structure entry."""

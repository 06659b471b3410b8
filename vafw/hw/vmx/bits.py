"""Layouts of VMX: VMCS field encodings, control bits, exit reasons, VM-instruction errors, EPT entries and the EPTP.

Layout only; behaviour lives next door. Over 400 lines because the appendices of one specification stand together. After
the Intel SDM volume 3: appendix "Field Encoding in VMCS", appendix "VMX Basic Exit Reasons", "VM-Instruction Error
Numbers", "The Extended Page Table Mechanism (EPT)". Names are the manual's.
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
    GUEST_ES_LIMIT = 0x4800
    GUEST_CS_LIMIT = 0x4802
    GUEST_SS_LIMIT = 0x4804
    GUEST_DS_LIMIT = 0x4806
    GUEST_FS_LIMIT = 0x4808
    GUEST_GS_LIMIT = 0x480A
    GUEST_LDTR_LIMIT = 0x480C
    GUEST_TR_LIMIT = 0x480E
    GUEST_GDTR_LIMIT = 0x4810
    GUEST_IDTR_LIMIT = 0x4812
    GUEST_ES_RIGHTS = 0x4814
    GUEST_CS_RIGHTS = 0x4816
    GUEST_SS_RIGHTS = 0x4818
    GUEST_DS_RIGHTS = 0x481A
    GUEST_FS_RIGHTS = 0x481C
    GUEST_GS_RIGHTS = 0x481E
    GUEST_LDTR_RIGHTS = 0x4820
    GUEST_TR_RIGHTS = 0x4822
    GUEST_INTERRUPTIBILITY = 0x4824
    GUEST_ACTIVITY = 0x4826
    GUEST_SMBASE = 0x4828
    GUEST_SYSENTER_CS = 0x482A
    PREEMPTION_TIMER = 0x482E
    HOST_SYSENTER_CS = 0x4C00
    CR0_MASK = 0x6000
    CR4_MASK = 0x6002
    CR0_SHADOW = 0x6004
    CR4_SHADOW = 0x6006
    CR3_TARGET_0 = 0x6008
    CR3_TARGET_1 = 0x600A
    CR3_TARGET_2 = 0x600C
    CR3_TARGET_3 = 0x600E
    EXIT_QUALIFICATION = 0x6400
    GUEST_LINEAR_ADDRESS = 0x640A
    GUEST_CR0 = 0x6800
    GUEST_CR3 = 0x6802
    GUEST_CR4 = 0x6804
    GUEST_ES_BASE = 0x6806
    GUEST_CS_BASE = 0x6808
    GUEST_SS_BASE = 0x680A
    GUEST_DS_BASE = 0x680C
    GUEST_FS_BASE = 0x680E
    GUEST_GS_BASE = 0x6810
    GUEST_LDTR_BASE = 0x6812
    GUEST_TR_BASE = 0x6814
    GUEST_GDTR_BASE = 0x6816
    GUEST_IDTR_BASE = 0x6818
    GUEST_DR7 = 0x681A
    GUEST_RSP = 0x681C
    GUEST_RIP = 0x681E
    GUEST_RFLAGS = 0x6820
    GUEST_PENDING_DEBUG = 0x6822
    GUEST_SYSENTER_ESP = 0x6824
    GUEST_SYSENTER_EIP = 0x6826
    HOST_CR0 = 0x6C00
    HOST_CR3 = 0x6C02
    HOST_CR4 = 0x6C04
    HOST_FS_BASE = 0x6C06
    HOST_GS_BASE = 0x6C08
    HOST_TR_BASE = 0x6C0A
    HOST_GDTR_BASE = 0x6C0C
    HOST_IDTR_BASE = 0x6C0E
    HOST_SYSENTER_ESP = 0x6C10
    HOST_SYSENTER_EIP = 0x6C12
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
    """Pin-based VM-execution controls; `DEFAULT1` of each kind of control are reserved bits that must be 1."""

    EXTERNAL_INTERRUPT_EXITING = 1 << 0
    NMI_EXITING = 1 << 3
    ACTIVATE_PREEMPTION_TIMER = 1 << 6
    DEFAULT1 = 0x16


class PrimaryControl(IntFlag):
    """Primary processor-based VM-execution controls."""

    INTERRUPT_WINDOW_EXITING = 1 << 2
    USE_TSC_OFFSETTING = 1 << 3
    HLT_EXITING = 1 << 7
    INVLPG_EXITING = 1 << 9
    RDTSC_EXITING = 1 << 12
    CR3_LOAD_EXITING = 1 << 15
    CR3_STORE_EXITING = 1 << 16
    UNCONDITIONAL_IO_EXITING = 1 << 24
    USE_IO_BITMAPS = 1 << 25
    MONITOR_TRAP_FLAG = 1 << 27
    USE_MSR_BITMAPS = 1 << 28
    ACTIVATE_SECONDARY = 1 << 31
    DEFAULT1 = 0x0400_6172


class SecondaryControl(IntFlag):
    """Secondary processor-based VM-execution controls."""

    ENABLE_EPT = 1 << 1
    ENABLE_VPID = 1 << 5
    UNRESTRICTED_GUEST = 1 << 7


class ExitControl(IntFlag):
    """VM-exit controls."""

    SAVE_DEBUG_CONTROLS = 1 << 2
    HOST_ADDRESS_SPACE_SIZE = 1 << 9
    ACKNOWLEDGE_INTERRUPT = 1 << 15
    SAVE_PAT = 1 << 18
    LOAD_PAT = 1 << 19
    SAVE_EFER = 1 << 20
    LOAD_EFER = 1 << 21
    SAVE_PREEMPTION_TIMER = 1 << 22
    DEFAULT1 = 0x0003_6DFB


class EntryControl(IntFlag):
    """VM-entry controls."""

    LOAD_DEBUG_CONTROLS = 1 << 2
    IA32E_GUEST = 1 << 9
    LOAD_PAT = 1 << 14
    LOAD_EFER = 1 << 15
    DEFAULT1 = 0x0000_11FB


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


class SegmentRights(Layout, width=32):
    """Access rights of a guest segment (SDM, "Format of Access Rights")."""

    TYPE = Field(3, 0)
    S = Field(4, 4)
    DPL = Field(6, 5)
    P = Field(7, 7)
    RESERVED = Field(11, 8)
    AVL = Field(12, 12)
    L = Field(13, 13)
    DB = Field(14, 14)
    G = Field(15, 15)
    UNUSABLE = Field(16, 16)
    RESERVED_HIGH = Field(31, 17)


class Interruptibility(IntFlag):
    """The guest interruptibility state."""

    BLOCKING_BY_STI = 1 << 0
    BLOCKING_BY_MOV_SS = 1 << 1
    BLOCKING_BY_SMI = 1 << 2
    BLOCKING_BY_NMI = 1 << 3


class CrAccess(Layout):
    """The exit qualification of a control-register access."""

    NUMBER = Field(3, 0)
    TYPE = Field(5, 4)
    """0 MOV to CR, 1 MOV from CR, 2 CLTS, 3 LMSW."""
    REGISTER = Field(11, 8)
    SOURCE = Field(31, 16)


class IoAccess(Layout):
    """The exit qualification of an I/O instruction."""

    SIZE = Field(2, 0)
    """Bytes, less one."""
    IN = Field(3, 3)
    STRING = Field(4, 4)
    REP = Field(5, 5)
    IMMEDIATE = Field(6, 6)
    PORT = Field(31, 16)


class PageFaultCode(IntFlag):
    """The error code of #PF."""

    P = 1 << 0
    W = 1 << 1
    U = 1 << 2
    RSVD = 1 << 3
    I = 1 << 4  # noqa: E741 - the manual's name


EXCEPTIONS_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17})
"""Vectors whose delivery pushes an error code: DF, TS, NP, SS, GP, PF, AC."""
DOUBLE_FAULT, SEGMENT_NOT_PRESENT, GENERAL_PROTECTION, PAGE_FAULT = 8, 11, 13, 14
"""Vectors of #DF, #NP, #GP and #PF."""
NMI_VECTOR = 2


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
RFLAGS_CLEARED_BY_DELIVERY = 1 << 8 | 1 << 14 | 1 << 16 | 1 << 17
"""TF, NT, RF and VM, which the delivery of an event clears."""
RFLAGS_VM = 1 << 17
RFLAGS_RESERVED = 0xFFFF_FFFF_FFC0_8028
"""Bits 63:22, 15, 5 and 3, which must be 0."""
CR0_FIXED = 1 << 5
"""CR0 bits that VMX operation with an unrestricted guest fixes to 1: NE (IA32_VMX_CR0_FIXED0)."""
CR0_PE_PG = 1 << 31 | 1 << 0
"""CR0.PG and CR0.PE, fixed to 1 for the host and for a guest that is not unrestricted."""
CR0_PE, CR0_TS, CR0_WP, CR0_PG = 1 << 0, 1 << 3, 1 << 16, 1 << 31
CR0_RESERVED = 0xFFFF_FFFF_1FFA_FFC0
"""Bits of CR0 that must be 0, the fixed ones of IA32_VMX_CR0_FIXED1 among them."""
CR4_VMXE = 1 << 13
"""CR4.VMXE, fixed to 1 in VMX operation."""
CR4_PAE, CR4_PGE, CR4_PCIDE, CR4_SMEP, CR4_SMAP = 1 << 5, 1 << 7, 1 << 17, 1 << 20, 1 << 21
CR4_SUPPORTED = 0x0037_67FF
"""Bits of CR4 that may be 1: VME to OSXMMEXCPT, VMXE, SMXE, FSGSBASE, PCIDE, OSXSAVE, SMEP and SMAP."""
EFER_SCE, EFER_LME, EFER_LMA, EFER_NXE = 1 << 0, 1 << 8, 1 << 10, 1 << 11
EFER_SUPPORTED = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE


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
    MONITOR_TRAP_FLAG = 37
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
    ENTRY_BLOCKED_BY_MOV_SS = 26
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


class GuestPagingEntry(Layout):
    """An entry of a guest's IA-32e paging structures (SDM volume 3, "4-Level Paging and 5-Level Paging")."""

    P = Field(0, 0)
    RW = Field(1, 1)
    US = Field(2, 2)
    PWT = Field(3, 3)
    PCD = Field(4, 4)
    A = Field(5, 5)
    D = Field(6, 6)
    PS = Field(7, 7)
    G = Field(8, 8)
    ADDRESS = Field(51, 12)
    XD = Field(63, 63)


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

"""The register page of the remapping unit (VT-d, "Register Descriptions"): layouts, access attributes and offsets.

Layout only. Registers come in address order with their gaps, and the lengths must add up to the page that the unit
answers for. Structures in memory stand in `bits`.
"""

from __future__ import annotations

from vafw.register import Access, Field, Register

RO, RW, RW1CS, ROS, WO = Access.RO, Access.RW, Access.RW1CS, Access.ROS, Access.WO


class Version(Register, width=32, initial=0x10):
    """VER, Version Register: architecture 1.0."""

    MIN = Field(3, 0, RO)
    MAX = Field(7, 4, RO)


class Capability(Register, width=64):
    """CAP, Capability Register."""

    ND = Field(2, 0, RO)
    RWBF = Field(4, 4, RO)
    PLMR = Field(5, 5, RO)
    PHMR = Field(6, 6, RO)
    CM = Field(7, 7, RO)
    SAGAW = Field(12, 8, RO)
    MGAW = Field(21, 16, RO)
    ZLR = Field(22, 22, RO)
    FRO = Field(33, 24, RO)
    SLLPS = Field(37, 34, RO)
    PSI = Field(39, 39, RO)
    NFR = Field(47, 40, RO)
    MAMV = Field(53, 48, RO)
    DWD = Field(54, 54, RO)
    DRD = Field(55, 55, RO)
    PI = Field(59, 59, RO)
    ESIRTPS = Field(62, 62, RO)
    ESRTPS = Field(63, 63, RO)


class ExtendedCapability(Register, width=64):
    """ECAP, Extended Capability Register."""

    C = Field(0, 0, RO)
    QI = Field(1, 1, RO)
    DT = Field(2, 2, RO)
    IR = Field(3, 3, RO)
    EIM = Field(4, 4, RO)
    PT = Field(6, 6, RO)
    SC = Field(7, 7, RO)
    IRO = Field(17, 8, RO)
    MHMV = Field(23, 20, RO)


class GlobalCommand(Register, width=32):
    """GCMD, Global Command Register. SRTP, WBF and SIRTP act once; the others switch a status of GSTS."""

    CFI = Field(23, 23, WO)
    SIRTP = Field(24, 24, WO)
    IRE = Field(25, 25, WO)
    QIE = Field(26, 26, WO)
    WBF = Field(27, 27, WO)
    SRTP = Field(30, 30, WO)
    TE = Field(31, 31, WO)


class GlobalStatus(Register, width=32):
    """GSTS, Global Status Register."""

    CFIS = Field(23, 23, RO)
    IRTPS = Field(24, 24, RO)
    IRES = Field(25, 25, RO)
    QIES = Field(26, 26, RO)
    WBFS = Field(27, 27, RO)
    RTPS = Field(30, 30, RO)
    TES = Field(31, 31, RO)


ONE_SHOT = GlobalCommand.mask_of(WO) & ~sum(
    field.mask for field in (GlobalCommand.CFI, GlobalCommand.IRE, GlobalCommand.QIE, GlobalCommand.TE)
)
"""The bits of GCMD that software must write as zero when it means another one: WBF, SRTP and SIRTP."""


class RootTableAddress(Register, width=64):
    """RTADDR, Root Table Address Register; legacy mode only, so TTM (11:10) stays zero."""

    RTA = Field(63, 12)


class ContextCommand(Register, width=64):
    """CCMD, Context Command Register."""

    DID = Field(15, 0)
    SID = Field(31, 16)
    FM = Field(33, 32)
    CAIG = Field(60, 59, RO)
    CIRG = Field(62, 61)
    ICC = Field(63, 63)


class FaultStatus(Register, width=32):
    """FSTS, Fault Status Register. PPF is the OR of every FRCD.F."""

    PFO = Field(0, 0, RW1CS)
    PPF = Field(1, 1, ROS)
    IQE = Field(4, 4, RW1CS)
    ICE = Field(5, 5, RW1CS)
    ITE = Field(6, 6, RW1CS)
    FRI = Field(15, 8, ROS)


class FaultEventControl(Register, width=32, initial=1 << 31):
    """FECTL, Fault Event Control Register."""

    IP = Field(30, 30, RO)
    IM = Field(31, 31, RW)


class FaultEventData(Register, width=32):
    """FEDATA, Fault Event Data Register."""

    IMD = Field(15, 0)


class FaultEventAddress(Register, width=32):
    """FEADDR, Fault Event Address Register."""

    MA = Field(31, 2)


class FaultEventUpperAddress(Register, width=32):
    """FEUADDR, Fault Event Upper Address Register."""

    MUA = Field(31, 0)


class ProtectedMemoryEnable(Register, width=32):
    """PMEN, Protected Memory Enable Register."""

    PRS = Field(0, 0, RO)
    EPM = Field(31, 31, RW)


class ProtectedLowBase(Register, width=32):
    """PLMBASE, Protected Low-Memory Base Register, in units of 2 MiB."""

    PLMB = Field(31, 21)


class ProtectedLowLimit(Register, width=32):
    """PLMLIMIT, Protected Low-Memory Limit Register: the last unit of 2 MiB."""

    PLML = Field(31, 21)


class ProtectedHighBase(Register, width=64):
    """PHMBASE, Protected High-Memory Base Register, in units of 2 MiB."""

    PHMB = Field(63, 21)


class ProtectedHighLimit(Register, width=64):
    """PHMLIMIT, Protected High-Memory Limit Register: the last unit of 2 MiB."""

    PHML = Field(63, 21)


class QueueHead(Register, width=64):
    """IQH, Invalidation Queue Head Register."""

    QH = Field(18, 4, RO)


class QueueTail(Register, width=64):
    """IQT, Invalidation Queue Tail Register."""

    QT = Field(18, 4)


class QueueAddress(Register, width=64):
    """IQA, Invalidation Queue Address Register; 2^(QS+8) descriptors of 16 bytes, so DW (11) stays zero."""

    QS = Field(2, 0)
    IQA = Field(63, 12)


class CompletionStatus(Register, width=32):
    """ICS, Invalidation Completion Status Register."""

    IWC = Field(0, 0, RW1CS)


class CompletionEventControl(Register, width=32, initial=1 << 31):
    """IECTL, Invalidation Event Control Register."""

    IP = Field(30, 30, RO)
    IM = Field(31, 31, RW)


class CompletionEventData(Register, width=32):
    """IEDATA, Invalidation Event Data Register."""

    IMD = Field(15, 0)


class CompletionEventAddress(Register, width=32):
    """IEADDR, Invalidation Event Address Register."""

    MA = Field(31, 2)


class CompletionEventUpperAddress(Register, width=32):
    """IEUADDR, Invalidation Event Upper Address Register."""

    MUA = Field(31, 0)


class QueueErrorRecord(Register, width=64):
    """IQERCD, Invalidation Queue Error Record Register: IQEI is not reported by this unit."""

    IQEI = Field(3, 0, RO)


class InterruptTableAddress(Register, width=64):
    """IRTA, Interrupt Remapping Table Address Register: 2^(S+1) entries."""

    S = Field(3, 0)
    EIME = Field(11, 11)
    IRTA = Field(63, 12)


class InvalidateAddress(Register, width=64):
    """IVA, Invalidate Address Register."""

    AM = Field(5, 0, WO)
    IH = Field(6, 6, WO)
    ADDR = Field(63, 12, WO)


class IotlbInvalidate(Register, width=64):
    """IOTLB, IOTLB Invalidate Register."""

    DID = Field(47, 32)
    DW = Field(48, 48)
    DR = Field(49, 49)
    IAIG = Field(58, 57, RO)
    IIRG = Field(61, 60)
    IVT = Field(63, 63)


class FaultRecording(Register, width=128):
    """FRCD, Fault Recording Register. T is 1 for a read; for interrupt requests FI 63:48 holds the index.

    AT says what kind of request it was: untranslated, a translation request, or a translated one.
    """

    FI = Field(63, 12, ROS)
    SID = Field(79, 64, ROS)
    FR = Field(103, 96, ROS)
    AT = Field(125, 124, ROS)
    T = Field(126, 126, ROS)
    F = Field(127, 127, RW1CS)


REGISTER_PAGE = 0x1000
REGISTERS: tuple[type[Register] | int, ...] = (
    *(Version, 4, Capability, ExtendedCapability, GlobalCommand, GlobalStatus, RootTableAddress, ContextCommand, 4),
    *(FaultStatus, FaultEventControl, FaultEventData, FaultEventAddress, FaultEventUpperAddress, 0x1C),
    *(ProtectedMemoryEnable, ProtectedLowBase, ProtectedLowLimit, ProtectedHighBase, ProtectedHighLimit),
    *(QueueHead, QueueTail, QueueAddress, 4, CompletionStatus, CompletionEventControl, CompletionEventData),
    *(CompletionEventAddress, CompletionEventUpperAddress, QueueErrorRecord, InterruptTableAddress, 0x30),
    *(InvalidateAddress, IotlbInvalidate, 0x120, FaultRecording, REGISTER_PAGE - 0x230),
)
"""The register page in address order; a number is a gap in bytes. FaultRecording is the first of CAP.NFR + 1."""


def _offsets() -> dict[type[Register], int]:
    """Each register's offset; TypeError where the lengths do not add up to the page or one is not aligned."""
    found: dict[type[Register], int] = {}
    offset = 0
    for entry in REGISTERS:
        length = entry if isinstance(entry, int) else entry.width // 8
        if not isinstance(entry, int):
            if offset % min(length, 8):
                raise TypeError(f"{entry.__name__} must be aligned to {length} bytes, not at {offset:#x}")
            found[entry] = offset
        offset += length
    if offset != REGISTER_PAGE:
        raise TypeError(f"the registers must fill {REGISTER_PAGE:#x} bytes, not {offset:#x}")
    return found


OFFSETS = _offsets()
"""Where each register stands in the page; ECAP.IRO, CAP.FRO and this table say the same."""

"""Structures in memory of the Intel Virtualization Technology for Directed I/O Architecture Specification ("VT-d").

Revision 4.1, legacy mode. Layout only: what the unit does with a bit stands in the module that does it. The registers
stand in `registers`.
"""

from __future__ import annotations

from enum import IntEnum

from vafw.register import Access, Field, Layout

RW = Access.RW

INTERRUPT_FIRST = 0xFEE0_0000
INTERRUPT_LAST = 0xFEEF_FFFF
"""VT-d, "Handling Requests to Interrupt Address Range": these never are memory."""


class TranslationType(IntEnum):
    """Context entry TT (VT-d, "Context Entry")."""

    UNTRANSLATED_ONLY = 0
    WITH_DEVICE_TLB = 1
    PASS_THROUGH = 2


class RootEntry(Layout, width=128):
    """VT-d, "Root Entry"."""

    P = Field(0, 0)
    CTP = Field(63, 12)


class ContextEntry(Layout, width=128):
    """VT-d, "Context Entry"."""

    P = Field(0, 0)
    FPD = Field(1, 1)
    TT = Field(3, 2)
    SLPTPTR = Field(63, 12)
    AW = Field(66, 64)
    IGNORED = Field(70, 67)
    DID = Field(87, 72)


class PagingEntry(Layout, width=64):
    """VT-d, "Second-Stage Paging Entries", of every level; PS is legal at levels 2 and 3."""

    R = Field(0, 0)
    W = Field(1, 1)
    PS = Field(7, 7)
    SNP = Field(11, 11)
    ADDR = Field(51, 12)
    TM = Field(62, 62)


ROOT_RESERVED = ((1 << 128) - 1) & ~RootEntry.mask_of(RW)
CONTEXT_RESERVED = ((1 << 128) - 1) & ~ContextEntry.mask_of(RW)
PAGING_IGNORED = 0xBFF0_0000_0000_0000
"""Bits 52 to 61 and 63 of a paging entry, software's own."""


class Irte(Layout, width=128):
    """VT-d, "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts"."""

    P = Field(0, 0)
    FPD = Field(1, 1)
    DM = Field(2, 2)
    RH = Field(3, 3)
    TM = Field(4, 4)
    DLM = Field(7, 5)
    AVAIL = Field(11, 8)
    VECTOR = Field(23, 16)
    DST = Field(63, 32)
    SID = Field(79, 64)
    SQ = Field(81, 80)
    SVT = Field(83, 82)


class PostedIrte(Layout, width=128):
    """VT-d, "Interrupt Remapping Table Entry (IRTE) for Posted Interrupts"; IM is 1, and CAP.PI must be, too."""

    P = Field(0, 0)
    FPD = Field(1, 1)
    AVAIL = Field(11, 8)
    URG = Field(14, 14)
    IM = Field(15, 15)
    VECTOR = Field(23, 16)
    PDAL = Field(63, 38)
    SID = Field(79, 64)
    SQ = Field(81, 80)
    SVT = Field(83, 82)
    PDAH = Field(127, 96)


class PostedDescriptor(Layout, width=512):
    """VT-d, "Posted Interrupt Descriptor (PID)": 64 bytes; PIR has one bit for each vector."""

    PIR = Field(255, 0)
    ON = Field(256, 256)
    SN = Field(257, 257)
    NV = Field(279, 272)
    NDST = Field(319, 288)


IRTE_RESERVED = ((1 << 128) - 1) & ~Irte.mask_of(RW)
"""Includes bit 15, IM: reserved in a unit without posted interrupts."""
POSTED_IRTE_RESERVED = ((1 << 128) - 1) & ~PostedIrte.mask_of(RW)
POSTED_DESCRIPTOR_RESERVED = ((1 << 320) - 1) & ~PostedDescriptor.mask_of(RW)
"""Of the first 40 bytes; the last 24 are software's."""


class SourceValidation(IntEnum):
    """IRTE SVT."""

    NONE = 0
    REQUESTER_ID = 1
    BUS_RANGE = 2


SQ_MASKS = (0xFFFF, 0xFFFB, 0xFFF9, 0xFFF8)
"""Which bits of the requester id SQ 0 to 3 compare."""


class MsiAddress(Layout, width=64):
    """VT-d, "Interrupt Requests in Remappable Format"; FORMAT 0 is the compatibility format."""

    HANDLE_15 = Field(2, 2)
    SHV = Field(3, 3)
    FORMAT = Field(4, 4)
    HANDLE = Field(19, 5)
    FEE = Field(31, 20)


class IoApicEntry(Layout, width=64):
    """An entry of an I/O APIC's redirection table in remappable format (VT-d, "I/OxAPIC Programming")."""

    VECTOR = Field(7, 0)
    INDEX_15 = Field(11, 11)
    DELIVERY_STATUS = Field(12, 12)
    POLARITY = Field(13, 13)
    REMOTE_IRR = Field(14, 14)
    TRIGGER = Field(15, 15)
    MASK = Field(16, 16)
    FORMAT = Field(48, 48)
    INDEX = Field(63, 49)


class CompatibleIoApicEntry(Layout, width=64):
    """The same entry in compatibility format, which names vector and destination itself (82093AA, "IOREDTBL")."""

    VECTOR = Field(7, 0)
    DELIVERY_MODE = Field(10, 8)
    LOGICAL = Field(11, 11)
    DELIVERY_STATUS = Field(12, 12)
    POLARITY = Field(13, 13)
    REMOTE_IRR = Field(14, 14)
    TRIGGER = Field(15, 15)
    MASK = Field(16, 16)
    DESTINATION = Field(63, 56)


IO_APIC_RESERVED = ((1 << 64) - 1) & ~IoApicEntry.mask_of(RW)


class DescriptorType(IntEnum):
    """Bits 3:0 of an invalidation queue descriptor that this unit executes (VT-d, "Invalidation Descriptor")."""

    CONTEXT_CACHE = 1
    IOTLB = 2
    DEVICE_TLB = 3
    INTERRUPT_ENTRY_CACHE = 4
    WAIT = 5


class Granularity(IntEnum):
    """G, CIRG and IIRG: how much an invalidation covers; PAGE is DEVICE for the context cache."""

    GLOBAL = 1
    DOMAIN = 2
    PAGE = 3


class ContextCacheDescriptor(Layout, width=128):
    """VT-d, "Context-cache Invalidate Descriptor"."""

    TYPE = Field(3, 0)
    G = Field(5, 4)
    DID = Field(31, 16)
    SID = Field(47, 32)
    FM = Field(49, 48)


class IotlbDescriptor(Layout, width=128):
    """VT-d, "IOTLB Invalidate Descriptor"."""

    TYPE = Field(3, 0)
    G = Field(5, 4)
    DW = Field(6, 6)
    DR = Field(7, 7)
    DID = Field(31, 16)
    AM = Field(69, 64)
    IH = Field(70, 70)
    ADDR = Field(127, 76)


class DeviceTlbDescriptor(Layout, width=128):
    """VT-d, "Device-TLB Invalidate Descriptor"; PFSID is the physical function's requester id in two parts."""

    TYPE = Field(3, 0)
    PFSID_LOW = Field(15, 12)
    MIP = Field(20, 16)
    SID = Field(47, 32)
    PFSID_HIGH = Field(63, 52)
    S = Field(64, 64)
    ADDR = Field(127, 76)


class InterruptEntryCacheDescriptor(Layout, width=128):
    """VT-d, "Interrupt Entry Cache Invalidate Descriptor"; G 0 is global, 1 covers 2^IM entries from IIDX."""

    TYPE = Field(3, 0)
    G = Field(4, 4)
    IM = Field(31, 27)
    IIDX = Field(47, 32)


class WaitDescriptor(Layout, width=128):
    """VT-d, "Invalidation Wait Descriptor"."""

    TYPE = Field(3, 0)
    IF = Field(4, 4)
    SW = Field(5, 5)
    FN = Field(6, 6)
    DATA = Field(63, 32)
    STATUS_ADDRESS = Field(127, 66)

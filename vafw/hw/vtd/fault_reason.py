"""Why the remapping unit blocks a request: the codes of VT-d, "Fault Reason Encodings", and what each one says."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class FaultReason(IntEnum):
    """The code that a fault record carries in FR."""

    ROOT_NOT_PRESENT = 0x1
    CONTEXT_NOT_PRESENT = 0x2
    CONTEXT_INVALID = 0x3
    BEYOND_ADDRESS_WIDTH = 0x4
    WRITE_NOT_ALLOWED = 0x5
    READ_NOT_ALLOWED = 0x6
    TABLE_UNREADABLE = 0x7
    ROOT_TABLE_UNREADABLE = 0x8
    CONTEXT_TABLE_UNREADABLE = 0x9
    ROOT_RESERVED = 0xA
    CONTEXT_RESERVED = 0xB
    PAGING_RESERVED = 0xC
    TRANSLATION_TYPE_BLOCKS = 0xD
    INTERRUPT_ADDRESS = 0xE
    REQUEST_RESERVED = 0x20
    INDEX_BEYOND_TABLE = 0x21
    IRTE_NOT_PRESENT = 0x22
    IRTE_UNREADABLE = 0x23
    IRTE_RESERVED = 0x24
    COMPATIBILITY_BLOCKED = 0x25
    SOURCE_NOT_VERIFIED = 0x26
    POSTED_DESCRIPTOR_UNREADABLE = 0x27
    POSTED_DESCRIPTOR_RESERVED = 0x28

    @property
    def text(self) -> str:
        """The reason in a few words, for logs and records."""
        return self.name.lower().replace("_", " ")

    @property
    def sentence(self) -> str:
        """What was wrong with which structure, in the manual's terms."""
        return _SENTENCES[self]

    @property
    def is_interrupt(self) -> bool:
        """Whether an interrupt request was blocked, and not a memory access."""
        return self >= FaultReason.REQUEST_RESERVED


_SENTENCES: Final = {
    FaultReason.ROOT_NOT_PRESENT: "the present (P) field of the root entry is clear",
    FaultReason.CONTEXT_NOT_PRESENT: "the present (P) field of the context entry is clear",
    FaultReason.CONTEXT_INVALID: "the context entry is programmed invalid: AW or TT is not supported, "
    "or its SLPTPTR leads to no memory",
    FaultReason.BEYOND_ADDRESS_WIDTH: "the address is beyond what the context entry's AW and CAP.MGAW allow",
    FaultReason.WRITE_NOT_ALLOWED: "a second-level paging entry on the way does not grant write (W)",
    FaultReason.READ_NOT_ALLOWED: "a second-level paging entry on the way does not grant read (R)",
    FaultReason.TABLE_UNREADABLE: "a second-level paging entry leads to a table that cannot be read",
    FaultReason.ROOT_TABLE_UNREADABLE: "the root table that RTADDR names cannot be read",
    FaultReason.CONTEXT_TABLE_UNREADABLE: "the context table that the root entry names cannot be read",
    FaultReason.ROOT_RESERVED: "a reserved field of the root entry is not zero",
    FaultReason.CONTEXT_RESERVED: "a reserved field of the context entry is not zero",
    FaultReason.PAGING_RESERVED: "a reserved field of a second-level paging entry is not zero",
    FaultReason.TRANSLATION_TYPE_BLOCKS: "the translation type (TT) of the context entry blocks translation requests "
    "and translated requests",
    FaultReason.INTERRUPT_ADDRESS: "the translated address lies in the interrupt range 0xfee00000 to 0xfeefffff",
    FaultReason.REQUEST_RESERVED: "a reserved field of the interrupt request is not zero",
    FaultReason.INDEX_BEYOND_TABLE: "the interrupt index is beyond the interrupt remapping table",
    FaultReason.IRTE_NOT_PRESENT: "the present (P) field of the IRTE is clear",
    FaultReason.IRTE_UNREADABLE: "the interrupt remapping table that IRTA names cannot be read",
    FaultReason.IRTE_RESERVED: "a reserved field of the IRTE is not zero",
    FaultReason.COMPATIBILITY_BLOCKED: "an interrupt request in compatibility format is blocked",
    FaultReason.SOURCE_NOT_VERIFIED: "source-id verification failed: the IRTE is not this requester's",
    FaultReason.POSTED_DESCRIPTOR_UNREADABLE: "the posted interrupt descriptor that the IRTE names cannot be read",
    FaultReason.POSTED_DESCRIPTOR_RESERVED: "a reserved field of the posted interrupt descriptor is not zero",
}

NEVER_SUPPRESSED: Final = frozenset({0x1, 0x8, 0x9, 0xA, 0xB, 0x20, 0x21, 0x23, 0x25})
"""Reasons recorded whatever FPD says: the entry that carries FPD was not reached or cannot be trusted."""

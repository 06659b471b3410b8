"""TXT registers and error codes: layout only; behaviour is in `chipset`.

Intel Trusted Execution Technology Software Development Guide, "TXT Configuration Registers" and
"TXT.ERRORCODE". Both spaces show the same registers; they differ in what software may do through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from vafw.address import Hpa

PRIVATE_SPACE: Final = Hpa(0xFED2_0000)
"""Open to authenticated code, and to the MLE until it closes it."""
PUBLIC_SPACE: Final = Hpa(0xFED3_0000)
"""Open to any software, for reading."""
SPACE_SIZE: Final = 0x1_0000


class Reg(IntEnum):
    """Offsets in both spaces, in address order; the names are those of the guide without ``TXT.``."""

    STS = 0x000
    ESTS = 0x008
    ERRORCODE = 0x030
    CMD_RESET = 0x038
    CMD_CLOSE_PRIVATE = 0x048
    BOOTSTATUS = 0x0A0
    VER_FSBIF = 0x100
    DIDVID = 0x110
    VER_QPIIF = 0x200
    CMD_UNLOCK_MEM_CONFIG = 0x218
    SINIT_BASE = 0x270
    SINIT_SIZE = 0x278
    MLE_JOIN = 0x290
    HEAP_BASE = 0x300
    HEAP_SIZE = 0x308
    MSEG_BASE = 0x310
    MSEG_SIZE = 0x318
    DPR = 0x330
    SCRATCHPAD = 0x378
    CMD_OPEN_LOCALITY1 = 0x380
    CMD_CLOSE_LOCALITY1 = 0x388
    CMD_OPEN_LOCALITY2 = 0x390
    CMD_CLOSE_LOCALITY2 = 0x398
    PUBLIC_KEY = 0x400
    CMD_SECRETS = 0x8E0
    CMD_NO_SECRETS = 0x8E8
    E2STS = 0x8F0
    ALIAS0_BASE = 0xA00
    """The model's own place for the memory controller's aliasing registers; a real chipset has them in PCI
    configuration space. Bit 0 of BASE is the enable."""
    ALIAS0_LIMIT = 0xA08
    ALIAS0_TARGET = 0xA10
    ALIAS1_BASE = 0xA18
    ALIAS1_LIMIT = 0xA20
    ALIAS1_TARGET = 0xA28


ALIAS_REGISTERS: Final = (
    (Reg.ALIAS0_BASE, Reg.ALIAS0_LIMIT, Reg.ALIAS0_TARGET),
    (Reg.ALIAS1_BASE, Reg.ALIAS1_LIMIT, Reg.ALIAS1_TARGET),
)


class Sts(IntFlag):
    """TXT.STS."""

    SENTER_DONE = 1 << 0
    SEXIT_DONE = 1 << 1
    MEM_CONFIG_LOCK = 1 << 6
    PRIVATE_OPEN = 1 << 7
    LOCALITY1_OPEN = 1 << 15
    LOCALITY2_OPEN = 1 << 16


class Ests(IntFlag):
    """TXT.ESTS; survives a reset."""

    TXT_RESET = 1 << 0


class E2sts(IntFlag):
    """TXT.E2STS; survives a reset."""

    SECRETS = 1 << 1


@dataclass(frozen=True, slots=True)
class Dpr:
    """TXT.DPR, the range that no device may reach: ends at `top`, holds `size_mib` MiB."""

    top: int
    """First address above it, a multiple of 1 MiB."""
    size_mib: int
    """0 to 255; 0 means no range."""
    lock: bool

    @classmethod
    def decode(cls, value: int) -> Dpr:
        """Read bits 0 (lock), 11:4 (size) and 31:20 (top)."""
        return cls(value & 0xFFF0_0000, value >> 4 & 0xFF, bool(value & 1))

    def encode(self) -> int:
        """The register's value."""
        return self.top | self.size_mib << 4 | int(self.lock)

    @property
    def base(self) -> int:
        """First address inside."""
        return self.top - (self.size_mib << 20)


class CpuError(IntEnum):
    """TXT.ERRORCODE written by the processor (bit 30 clear): the reason in bits 29:0."""

    LEGACY_SHUTDOWN = 0
    ACM_MEMORY_TYPE = 5
    UNSUPPORTED_ACM = 6
    AUTHENTICATE_FAIL = 7
    ACM_FORMAT = 8
    UNEXPECTED_HITM = 9
    INVALID_EVENT = 10
    INVALID_JOIN_FORMAT = 11
    MACHINE_CHECK = 12
    VMX_ABORT = 13
    ACM_CORRUPT = 14


class AcmClass(IntEnum):
    """TXT.ERRORCODE written by SINIT, bits 9:4: the stage it had reached. The numbers are the model's own."""

    PLATFORM = 0x01
    HEAP = 0x02
    PROTECTED_MEMORY = 0x03
    MLE = 0x04
    POLICY = 0x05
    MEASUREMENT = 0x06


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """TXT.ERRORCODE as an authenticated code module writes it (bit 30 set, bit 15 clear)."""

    stage: AcmClass
    error: int
    """Bits 14:10, counted from 1 within the stage."""
    minor: int = 0
    """Bits 29:16."""
    module: int = 1
    """Bits 3:0: 0 the BIOS ACM, 1 SINIT."""

    def encode(self) -> int:
        """The register's value, valid bit set."""
        return 1 << 31 | 1 << 30 | self.minor << 16 | self.error << 10 | self.stage << 4 | self.module

    @classmethod
    def decode(cls, value: int) -> ErrorCode:
        """Read it back; ValueError for a code that no module wrote."""
        if value >> 30 != 3 or value >> 15 & 1:
            raise ValueError(f"TXT.ERRORCODE must have bits 31 and 30 set and bit 15 clear, not {value:#010x}")
        return cls(AcmClass(value >> 4 & 0x3F), value >> 10 & 0x1F, value >> 16 & 0x3FFF, value & 0xF)


def cpu_error_code(error: CpuError) -> int:
    """TXT.ERRORCODE as the processor writes it."""
    return 1 << 31 | error

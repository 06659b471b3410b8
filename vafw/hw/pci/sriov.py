"""SR-IOV: one physical function that shows several virtual ones, each with a requester id of its own.

    NumVFs, then VF Enable    virtual functions n = 1..NumVFs appear at PF RID + First VF Offset + (n-1) * VF Stride
    VF Enable off, FLR        they are gone, with all that was configured in them

A virtual function has no BARs of its own: its registers stand in the n-th page of the physical function's VF BAR, and
decode while VF Memory Space Enable is on. Its vendor and device id read as FFFFh; software takes them from the physical
function. NumVFs is frozen while VF Enable is on (PCI Express Base Specification, "Single Root I/O Virtualization").
"""

from __future__ import annotations

import struct
from enum import IntEnum

from vafw.address import Bdf
from vafw.hw.pci.config import BAR_SIZE, ConfigSpace, ExtendedCapability
from vafw.register import Field, Layout

SRIOV_CAPABILITY = 0x0010
_SUPPORTED_PAGES = 0x553
"""4 KiB, 8 KiB, 64 KiB, 256 KiB, 1 MiB and 4 MiB, which every device must support."""
_SYSTEM_PAGE_4K = 1
_NUMBER_OF_VFS_BITS = 0xFFFF


class SriovRegister(IntEnum):
    """Offsets in the capability."""

    CAPABILITIES = 0x04
    CONTROL = 0x08
    STATUS = 0x0A
    INITIAL_VFS = 0x0C
    TOTAL_VFS = 0x0E
    NUM_VFS = 0x10
    FUNCTION_DEPENDENCY = 0x12
    FIRST_VF_OFFSET = 0x14
    VF_STRIDE = 0x16
    VF_DEVICE_ID = 0x1A
    SUPPORTED_PAGES = 0x1C
    SYSTEM_PAGE = 0x20
    VF_BAR0 = 0x24


class SriovControl(Layout, width=16):
    """SR-IOV Control."""

    VF_ENABLE = Field(0, 0)
    VF_MSE = Field(3, 3)


def sriov_capability(total: int, *, first_offset: int, stride: int, device_id: int) -> ExtendedCapability:
    """The capability of a physical function with up to `total` virtual ones, none of them there yet."""
    body = struct.pack(
        "<IHHHHHHHHHHII24xI",
        0, 0, 0, total, total, 0, 0, first_offset, stride, 0, device_id, _SUPPORTED_PAGES, _SYSTEM_PAGE_4K, 0,
    )  # fmt: skip
    control = SriovControl.pack(VF_ENABLE=1, VF_MSE=1)
    writable = struct.pack("<IHHHHHHHHHHII24xI", 0, control, 0, 0, 0, _NUMBER_OF_VFS_BITS, 0, 0, 0, 0, 0, 0, 0, 0)
    bar = SriovRegister.VF_BAR0 - 4
    writable = writable[:bar] + struct.pack("<I", -BAR_SIZE & 0xFFFF_FFFF) + writable[bar + 4 :]
    return ExtendedCapability(SRIOV_CAPABILITY, body, writable)


class SriovState:
    """What the capability of one physical function says at this moment."""

    def __init__(self, bdf: Bdf, config: ConfigSpace) -> None:
        """`config` must have the capability."""
        at = config.capability(SRIOV_CAPABILITY)
        if at is None:
            raise ValueError(f"function {bdf} must have the SR-IOV capability")
        self._bdf = bdf
        self._config = config
        self._at = at

    @property
    def is_enabled(self) -> bool:
        """VF Enable is on."""
        return bool(SriovControl.VF_ENABLE.get(self.read(SriovRegister.CONTROL)))

    @property
    def enabled(self) -> int:
        """How many virtual functions there are: NumVFs while VF Enable is on and NumVFs is possible, else 0."""
        number = self.read(SriovRegister.NUM_VFS)
        return number if self.is_enabled and number <= self.read(SriovRegister.TOTAL_VFS) else 0

    def address(self, number: int) -> Bdf:
        """The requester id of the virtual function `number`, counted from 0."""
        offset = self.read(SriovRegister.FIRST_VF_OFFSET) + number * self.read(SriovRegister.VF_STRIDE)
        return Bdf.from_requester_id(self._bdf.requester_id + offset & 0xFFFF)

    def window(self, number: int) -> int | None:
        """Where the registers of a virtual function decode; None while VF Memory Space Enable is off."""
        if not SriovControl.VF_MSE.get(self.read(SriovRegister.CONTROL)):
            return None
        return self._config.read(self._at + SriovRegister.VF_BAR0, 4) + number * BAR_SIZE

    def read(self, register: SriovRegister) -> int:
        """A 16-bit register of the capability."""
        return self._config.read(self._at + register, 2)

    def restore_number(self, number: int) -> None:
        """NumVFs is frozen: put back what stood there before a write."""
        self._config.place(self._at + SriovRegister.NUM_VFS, 2, number)

"""A PCI function's configuration space: what software finds out about the function, and the switches it sets there.

4 KiB and a mask of the writable bits; what a switch does is the function's own affair (`vafw.hw.pci.function`).
One BAR of 4 KiB, one MSI vector with a 64-bit address, function-level reset through the PCI Express capability, and
whatever extended capabilities the function has, one behind the other from 100h (PCI Local Bus Specification 3.0 and
PCI Express Base Specification, "Configuration Space").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from vafw.register import Access, Field, Layout

CONFIG_SIZE = 4096
EXTENDED = 0x100
"""Where the first extended capability stands."""
VENDOR_ID, DEVICE_ID, COMMAND, STATUS = 0x00, 0x02, 0x04, 0x06
CLASS_CODE, HEADER_TYPE, BAR0, CAPABILITIES = 0x09, 0x0E, 0x10, 0x34
MSI, EXPRESS = 0x50, 0x60
MSI_CONTROL, MSI_ADDRESS, MSI_UPPER_ADDRESS, MSI_DATA = MSI + 2, MSI + 4, MSI + 8, MSI + 12
DEVICE_CAPABILITIES, DEVICE_CONTROL = EXPRESS + 4, EXPRESS + 8
BAR_SIZE = 0x1000
_MSI_ID, _EXPRESS_ID = 0x05, 0x10
_NOBODY = 0xFFFF


class Command(Layout, width=16):
    """Command register."""

    MEMORY_SPACE = Field(1, 1)
    BUS_MASTER = Field(2, 2)
    INTERRUPT_DISABLE = Field(10, 10)


class Status(Layout, width=16):
    """Status register; RECEIVED_MASTER_ABORT says that a request of this function was answered by nobody."""

    CAPABILITIES_LIST = Field(4, 4)
    RECEIVED_MASTER_ABORT = Field(13, 13)


class MsiControl(Layout, width=16):
    """Message Control of the MSI capability."""

    ENABLE = Field(0, 0)
    ADDRESS_64 = Field(7, 7)


FLR_CAPABLE = 1 << 28
"""Device Capabilities: Function Level Reset Capability."""
INITIATE_FLR = 1 << 15
"""Device Control: Initiate Function Level Reset; always reads as zero."""


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """What a function is, burnt in."""

    vendor_id: int
    device_id: int
    class_code: int
    """Base class, sub-class and programming interface, 24 bits (PCI Code and ID Assignment Specification)."""
    multifunction: bool = False
    header_type: int = 0
    """0 of an endpoint, 1 of a bridge."""
    express_type: int = 0
    """Device/Port Type of the PCI Express Capabilities Register: 0 is an endpoint."""
    virtual: bool = False
    """A virtual function: no BARs, and its ids read as FFFFh; the physical function speaks for it."""


@final
@dataclass(frozen=True, slots=True)
class ExtendedCapability:
    """An extended capability as it is after a reset."""

    identifier: int
    body: bytes
    """What follows the 4 bytes of its header; a multiple of 4."""
    writable: bytes
    """As long as `body`: the bits that software may write."""
    version: int = 1


@final
class ConfigSpace:
    """The bytes, which of their bits software may write, and what the function must know of them at every request."""

    bus_master: bool
    """Whether the function may issue memory requests, messages among them."""
    memory_window: int | None
    """Where BAR0 is decoded, or None while memory space is off; of a virtual function, what `place_window` said."""
    message: tuple[int, int] | None
    """Address and data of the MSI, or None while MSI is off."""

    def __init__(self, identity: Identity, extended: Sequence[ExtendedCapability] = ()) -> None:
        self._identity = identity
        self._extended = tuple(extended)
        self._places: dict[int, int] = {}
        self._virtual_window: int | None = None
        self._bytes = bytearray(CONFIG_SIZE)
        self._writable = bytearray(CONFIG_SIZE)
        self._allow(COMMAND, 2, Command.mask_of(Access.RW) & ~(Command.MEMORY_SPACE.mask * identity.virtual))
        self._allow(BAR0, 4, 0 if identity.virtual else 0xFFFF_FFFF & -BAR_SIZE)
        self._allow(MSI_CONTROL, 2, MsiControl.pack(ENABLE=1))
        self._allow(MSI_ADDRESS, 4, 0xFFFF_FFFC)
        self._allow(MSI_UPPER_ADDRESS, 4, 0xFFFF_FFFF)
        self._allow(MSI_DATA, 2, 0xFFFF)
        offset = EXTENDED
        for each in self._extended:
            self._places[each.identifier] = offset
            self._writable[offset + 4 : offset + 4 + len(each.writable)] = each.writable
            offset += 4 + len(each.body)
        self.reset()

    def capability(self, identifier: int) -> int | None:
        """Where an extended capability stands, or None where the function has none of that number."""
        return self._places.get(identifier)

    def reset(self) -> None:
        """As after power-on: not decoding, not mastering, no message address."""
        self._bytes[:] = bytes(CONFIG_SIZE)
        identity = self._identity
        self.place(VENDOR_ID, 2, _NOBODY if identity.virtual else identity.vendor_id)
        self.place(DEVICE_ID, 2, _NOBODY if identity.virtual else identity.device_id)
        self.place(STATUS, 2, Status.pack(CAPABILITIES_LIST=1))
        self.place(CLASS_CODE, 3, identity.class_code)
        self.place(HEADER_TYPE, 1, identity.multifunction << 7 | identity.header_type)
        self.place(CAPABILITIES, 1, MSI)
        self.place(MSI, 4, _MSI_ID | EXPRESS << 8 | MsiControl.pack(ADDRESS_64=1) << 16)
        self.place(EXPRESS, 4, _EXPRESS_ID | 2 << 16 | identity.express_type << 20)
        self.place(DEVICE_CAPABILITIES, 4, FLR_CAPABLE)
        for number, each in enumerate(self._extended, 1):
            offset = self._places[each.identifier]
            end = offset + 4 + len(each.body)
            self.place(
                offset, 4, each.identifier | each.version << 16 | (end if number < len(self._extended) else 0) << 20
            )
            self._bytes[offset + 4 : end] = each.body
        self._derive()

    def place_window(self, window: int | None) -> None:
        """The physical function says where the registers of this virtual one decode."""
        self._virtual_window = window
        self._derive()

    def read(self, offset: int, size: int) -> int:
        """`size` bytes (1, 2 or 4) as software or the function itself reads them."""
        return int.from_bytes(self._bytes[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Software writes; bits that are not writable keep their value, Status bits that are one are cleared."""
        writable = int.from_bytes(self._writable[offset : offset + size], "little")
        cleared = self._cleared(offset, size, value)
        self.place(offset, size, (self.read(offset, size) & ~writable | value & writable) & ~cleared)
        self._derive()

    def place(self, offset: int, size: int, value: int) -> None:
        """The function itself writes, whatever software may."""
        self._bytes[offset : offset + size] = value.to_bytes(size, "little")

    def note_master_abort(self) -> None:
        """Status: a request was answered with Unsupported Request."""
        self.place(STATUS, 2, self.read(STATUS, 2) | Status.pack(RECEIVED_MASTER_ABORT=1))

    def _derive(self) -> None:
        """Work out what the data path asks for at every request."""
        command = self.read(COMMAND, 2)
        self.bus_master = bool(Command.BUS_MASTER.get(command))
        window = self.read(BAR0, 4) if Command.MEMORY_SPACE.get(command) else None
        self.memory_window = self._virtual_window if self._identity.virtual else window
        address = self.read(MSI_UPPER_ADDRESS, 4) << 32 | self.read(MSI_ADDRESS, 4)
        enabled = MsiControl.ENABLE.get(self.read(MSI_CONTROL, 2))
        self.message = (address, self.read(MSI_DATA, 2)) if enabled else None

    def _allow(self, offset: int, size: int, mask: int) -> None:
        self._writable[offset : offset + size] = mask.to_bytes(size, "little")

    @staticmethod
    def _cleared(offset: int, size: int, value: int) -> int:
        """The RW1C bits of Status, where the access covers them and writes one."""
        abort = Status.pack(RECEIVED_MASTER_ABORT=1) << 8 * STATUS
        return (value << 8 * offset & abort) >> 8 * offset

"""A descriptor ring: how a device and a driver pass buffers through the driver's memory.

    driver posts at TAIL, device consumes at HEAD; HEAD == TAIL: nothing posted; at most ENTRIES - 1 posted

A descriptor is 16 bytes, little-endian: u64 address, u16 length, u16 status, u32 reserved. The driver writes address
and length (of the buffer to fill, or of the frame to send) and advances TAIL; the device writes the length it used and
DONE, and advances HEAD. The network card and the VMM's links use the same format; whose addresses they are (a device's
or a guest's) is their affair, as are the accesses to memory.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple, final

DESCRIPTOR_SIZE = 16
MAXIMUM_ENTRIES = 4096
DESCRIPTOR = struct.Struct("<QHHI")
"""Address, length, status and a reserved word, for whoever reads or writes many at a time."""
DONE = 1
"""Status bit 0: the device is finished with the descriptor."""


class Descriptor(NamedTuple):
    """One descriptor; a tuple because every frame unpacks two of them."""

    address: int
    length: int
    status: int = 0

    def pack(self) -> bytes:
        """The 16 bytes."""
        return DESCRIPTOR.pack(self.address, self.length, self.status, 0)

    @classmethod
    def unpack(cls, raw: bytes) -> Descriptor:
        """Read 16 bytes."""
        address, length, status, _ = DESCRIPTOR.unpack(raw)
        return cls(address, length, status)


class RingRegister(IntEnum):
    """Offsets of the 32-bit registers of one ring."""

    BASE_LO = 0x00
    BASE_HI = 0x04
    ENTRIES = 0x08
    HEAD = 0x0C
    TAIL = 0x10


RING_REGISTERS_SIZE = 0x14


@final
class Ring:
    """The device's side of one ring: the five registers and the arithmetic on them."""

    def __init__(self) -> None:
        self.base = 0
        self.entries = 0
        self.head = 0
        self.tail = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is posted."""
        return self.head == self.tail

    @property
    def posted(self) -> int:
        """How many descriptors the driver has posted and the device not consumed."""
        return (self.tail - self.head) % self.entries if self.entries else 0

    @property
    def head_address(self) -> int:
        """Where the next descriptor stands."""
        return self.base + self.head * DESCRIPTOR_SIZE

    def consume(self) -> None:
        """The device is finished with the descriptor at HEAD."""
        self.head = (self.head + 1) % self.entries

    def read_register(self, offset: int) -> int:
        """One of `RingRegister`; zero elsewhere."""
        match offset:
            case RingRegister.BASE_LO:
                return self.base & 0xFFFF_FFFF
            case RingRegister.BASE_HI:
                return self.base >> 32
            case RingRegister.ENTRIES:
                return self.entries
            case RingRegister.HEAD:
                return self.head
            case RingRegister.TAIL:
                return self.tail
            case _:
                return 0

    def write_register(self, offset: int, value: int) -> None:
        """The driver writes; HEAD is the device's, a TAIL outside the ring is ignored, ENTRIES empties the ring."""
        match offset:
            case RingRegister.BASE_LO:
                self.base = self.base >> 32 << 32 | value & 0xFFFF_FFF0
            case RingRegister.BASE_HI:
                self.base = value << 32 | self.base & 0xFFFF_FFFF
            case RingRegister.ENTRIES:
                self.entries = value if value <= MAXIMUM_ENTRIES else 0
                self.head = self.tail = 0
            case RingRegister.TAIL if value < self.entries:
                self.tail = value
            case _:
                pass

"""A display controller: scans a framebuffer out of memory by DMA, page by page, through VT-d.

It keeps no picture of its own. What the screen shows is what the memory of the function's owner holds at that moment,
and a page that the remapping unit blocks leaves no picture at all, only the fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import final

from vafw.address import PAGE_MASK, PAGE_SIZE, Bdf
from vafw.hw.pci.config import Identity
from vafw.hw.pci.function import PciFunction, Upstream
from vafw.hw.vtd import DmaFault
from vafw.register import Field, Register

DEFAULT_IDENTITY = Identity(vendor_id=0x8086, device_id=0x3E9B, class_code=0x03_00_00)
MAXIMUM_WIDTH, MAXIMUM_HEIGHT = 4096, 2304
BYTES_PER_PIXEL = 4
"""XRGB8888, little-endian: blue, green, red and a byte that is not shown."""


class DisplayRegister(IntEnum):
    """Offsets in BAR0, 32 bits each."""

    CTRL = 0x00
    BASE_LO = 0x04
    """Framebuffer address, bits 31:2."""
    BASE_HI = 0x08
    WIDTH = 0x0C
    """Pixels, at most MAXIMUM_WIDTH."""
    HEIGHT = 0x10
    """Lines, at most MAXIMUM_HEIGHT."""
    STRIDE = 0x14
    """Bytes from one line to the next, at least four for each pixel."""


class Control(Register, width=32):
    """CTRL."""

    ENABLE = Field(0, 0)


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """What the screen shows."""

    width: int
    height: int
    rgb: bytes
    """Three bytes a pixel, line by line from the top; empty where the screen is dark."""


DARK = Picture(0, 0, b"")
"""The screen while the function is off."""


@final
class Display(PciFunction):
    """The PC's display controller."""

    def __init__(self, bdf: Bdf, upstream: Upstream, identity: Identity = DEFAULT_IDENTITY) -> None:
        super().__init__(bdf, upstream, identity)
        self.reset_registers()

    def scan_out(self) -> Picture | DmaFault:
        """Read one frame by DMA. DARK while CTRL.ENABLE is off or the mode is none; the first blocked page ends it."""
        width, height, stride = self._mode()
        if not (self._control.ENABLE and width and height):
            return DARK
        raw = self._read_framebuffer(stride * (height - 1) + width * BYTES_PER_PIXEL)
        if isinstance(raw, DmaFault):
            return raw
        length = width * BYTES_PER_PIXEL
        lines = raw if stride == length else b"".join(raw[y * stride : y * stride + length] for y in range(height))
        rgb = bytearray(width * height * 3)
        rgb[0::3], rgb[1::3], rgb[2::3] = lines[2::4], lines[1::4], lines[0::4]
        return Picture(width, height, bytes(rgb))

    def reset_registers(self) -> None:
        """As after power-on: dark, and no address of anybody's memory left."""
        self._control = Control()
        self._registers = dict.fromkeys(DisplayRegister, 0)

    def mmio_read(self, offset: int, size: int) -> int:
        """A 32-bit register; zero where there is none."""
        if offset == DisplayRegister.CTRL:
            return self._control.sw_read()
        return self._registers[DisplayRegister(offset)] if offset in self._registers else 0

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """A 32-bit register."""
        if offset == DisplayRegister.CTRL:
            self._control.sw_write(value)
        elif offset in self._registers:
            self._registers[DisplayRegister(offset)] = value & 0xFFFF_FFFF

    def _mode(self) -> tuple[int, int, int]:
        """Width, height and stride; zeros where they are no picture that the controller can show."""
        width, height, stride = (
            self._registers[each] for each in (DisplayRegister.WIDTH, DisplayRegister.HEIGHT, DisplayRegister.STRIDE)
        )
        least, most = width * BYTES_PER_PIXEL, MAXIMUM_WIDTH * BYTES_PER_PIXEL
        if width > MAXIMUM_WIDTH or height > MAXIMUM_HEIGHT or not least <= stride <= most:
            return 0, 0, 0
        return width, height, stride

    def _read_framebuffer(self, length: int) -> bytes | DmaFault:
        start = self._registers[DisplayRegister.BASE_HI] << 32 | self._registers[DisplayRegister.BASE_LO] & ~3
        parts = []
        address, end = start, start + length
        while address < end:
            chunk = min(end - address, PAGE_SIZE - (address & PAGE_MASK))
            part = self.dma_read(address, chunk)
            if isinstance(part, DmaFault):
                return part
            parts.append(part)
            address += chunk
        return b"".join(parts)

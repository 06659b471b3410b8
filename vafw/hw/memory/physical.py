"""Host physical memory of the modelled PC: sparse RAM in 4 KiB frames, and memory-mapped windows of devices.

Not a cache and not an address space of anybody: every access names a host-physical address. Who may use which address
is decided by EPT (processors) and by the remapping unit (devices), which both keep their tables in this very memory.

A frame exists from the first write; a frame never written reads as zeros. Values are little-endian.

The hard part is speed: every packet makes dozens of accesses. A window covers whole frames and drops the RAM under it,
so a frame found in `_frames` is RAM and the common access costs one dictionary look-up; windows come after that.

Walkers read tables, not bytes. `tables` has frames as 512 entries of 8 bytes, so that one level of a walk is

    tables = memory.tables                        # once
    try:
        entry = tables[table][address >> shift & 511]
    except KeyError:                              # never written, not RAM, or not read as a table before
        entry = memory.read_ram_u64(table + (address >> shift & 511) * 8)

where `table` is the frame's address. The except costs nothing until it happens, and from then on the frame is found.
Never keep one of the views: a frame that is cleared leaves it behind.
"""

from __future__ import annotations

import sys
from typing import Protocol, final

from vafw.address import PAGE_MASK, PAGE_SIZE, Hpa
from vafw.errors import VafwError

_ZEROS = bytes(PAGE_SIZE)
if sys.byteorder != "little":
    raise ImportError("the modelled memory is little-endian and so must be the computer that models it")


class BusError(VafwError):
    """An access to an address that is neither RAM nor a device's window."""


class MmioDevice(Protocol):
    """What answers for a window: registers of `size` 1, 2, 4 or 8 bytes at an offset from the window's start."""

    def mmio_read(self, offset: int, size: int) -> int:
        """The register's value."""
        ...

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Software writes the register."""
        ...


@final
class PhysicalMemory:
    """RAM from address 0 to `size`, and device windows anywhere."""

    def __init__(self, size: int) -> None:
        """`size` in bytes, a multiple of 4 KiB."""
        if size <= 0 or size & PAGE_MASK:
            raise ValueError(f"the size of memory must be a positive multiple of 4096, not {size}")
        self.size = size
        self.tables: dict[int, memoryview] = {}
        """Frames that were read as tables, by address: 512 entries of 8 bytes each, live. See the module's header."""
        self._frames: dict[int, bytearray] = {}
        self._windows: list[tuple[int, int, MmioDevice]] = []
        self._window_at: dict[int, tuple[int, int, MmioDevice]] = {}
        """Frame number to the window that covers the frame."""

    def map_window(self, start: Hpa, size: int, device: MmioDevice) -> None:
        """Let `device` answer for `size` bytes from `start`, whole frames; windows must not overlap each other."""
        if start < 0 or size <= 0 or (start | size) & PAGE_MASK:
            raise ValueError(f"a window must cover whole 4 KiB frames, not {start:#x}+{size:#x}")
        for other, other_end, _ in self._windows:
            if start < other_end and other < start + size:
                raise ValueError(f"window {start:#x}+{size:#x} must not overlap {other:#x}+{other_end - other:#x}")
        window = (start, start + size, device)
        self._windows.append(window)
        for number in range(start >> 12, start + size >> 12):
            self._window_at[number] = window
            self._forget(number)

    def is_ram(self, address: int, length: int = 1) -> bool:
        """Whether every one of the bytes is RAM."""
        if address >> 12 in self._frames and (address & PAGE_MASK) + length <= PAGE_SIZE:
            return True
        return (
            address >= 0
            and address + length <= self.size
            and not any(address < end and start < address + length for start, end, _ in self._windows)
        )

    def read(self, address: Hpa, length: int) -> bytes:
        """`length` bytes from `address`; BusError where one of them is nothing."""
        offset = address & PAGE_MASK
        if offset + length <= PAGE_SIZE and (frame := self._frames.get(address >> 12)) is not None:
            return bytes(frame[offset : offset + length])
        if address >> 12 in self._window_at or (data := self.read_ram(address, length)) is None:
            window, device = self._window(address, length, "read")
            return device.mmio_read(address - window, length).to_bytes(length, "little")
        return data

    def write(self, address: Hpa, data: bytes | bytearray | memoryview) -> None:
        """Write `data` at `address`; BusError, with nothing written, where one byte is nothing."""
        offset = address & PAGE_MASK
        length = len(data)
        if offset + length <= PAGE_SIZE and (frame := self._frames.get(address >> 12)) is not None:
            frame[offset : offset + length] = data
        elif address >> 12 in self._window_at or not self.write_ram(address, data):
            window, device = self._window(address, length, "written")
            device.mmio_write(address - window, length, int.from_bytes(data, "little"))

    def read_ram(self, address: int, length: int) -> bytes | None:
        """`length` bytes of RAM, None where one of them is not RAM; for devices and table walks: no window answers."""
        offset = address & PAGE_MASK
        if offset + length <= PAGE_SIZE and (frame := self._frames.get(address >> 12)) is not None:
            return bytes(frame[offset : offset + length])
        if not self.is_ram(address, length):
            return None
        if offset + length <= PAGE_SIZE:
            return _ZEROS[:length]
        parts = []
        while length:
            chunk = min(length, PAGE_SIZE - (address & PAGE_MASK))
            frame = self._frames.get(address >> 12)
            offset = address & PAGE_MASK
            parts.append(_ZEROS[:chunk] if frame is None else frame[offset : offset + chunk])
            address, length = address + chunk, length - chunk
        return b"".join(parts)

    def write_ram(self, address: int, data: bytes | bytearray | memoryview) -> bool:
        """Write RAM; False, with nothing written, where one of the bytes is not RAM."""
        offset = address & PAGE_MASK
        length = len(data)
        if offset + length <= PAGE_SIZE and (frame := self._frames.get(address >> 12)) is not None:
            frame[offset : offset + length] = data
            return True
        if not self.is_ram(address, length):
            return False
        done = 0
        while done < length:
            offset = address & PAGE_MASK
            chunk = min(length - done, PAGE_SIZE - offset)
            frame = self._frames.get(address >> 12)
            if frame is None:
                frame = self._frames[address >> 12] = bytearray(PAGE_SIZE)
            frame[offset : offset + chunk] = data[done : done + chunk]
            address, done = address + chunk, done + chunk
        return True

    def read_ram_u64(self, address: int) -> int | None:
        """An aligned table entry of eight bytes; None where that is not RAM."""
        table = address & -PAGE_SIZE
        entries = self.tables.get(table)
        if entries is None:
            frame = self._frames.get(address >> 12)
            if frame is None:
                return 0 if self.is_ram(address, 8) else None
            entries = self.tables[table] = memoryview(frame).cast("Q")
        return entries[address >> 3 & 511]

    def write_ram_u64(self, address: int, value: int) -> bool:
        """Write an aligned table entry; False, with nothing written, where that is not RAM."""
        entries = self.tables.get(address & -PAGE_SIZE)
        if entries is None:
            return self.write_ram(address & -8, value.to_bytes(8, "little"))
        entries[address >> 3 & 511] = value
        return True

    def read_u32(self, address: Hpa) -> int:
        """Four bytes, little-endian."""
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: Hpa) -> int:
        """Eight bytes, little-endian."""
        return int.from_bytes(self.read(address, 8), "little")

    def write_u32(self, address: Hpa, value: int) -> None:
        """Four bytes, little-endian."""
        self.write(address, value.to_bytes(4, "little"))

    def write_u64(self, address: Hpa, value: int) -> None:
        """Eight bytes, little-endian."""
        self.write(address, value.to_bytes(8, "little"))

    def clear(self, address: Hpa, length: int) -> None:
        """Make `length` bytes zero, whole frames by forgetting them."""
        end = address + length
        whole = range((address + PAGE_MASK) >> 12, end >> 12)
        fewer = whole if len(whole) <= len(self._frames) else [each for each in self._frames if each in whole]
        for number in fewer:
            self._forget(number)
        for first, last in ((address, min(end, whole.start << 12)), (max(address, whole.stop << 12), end)):
            if first < last and first >> 12 in self._frames:
                self.write(Hpa(first), bytes(last - first))

    @property
    def resident_bytes(self) -> int:
        """Memory that was ever written and not cleared since."""
        return len(self._frames) * PAGE_SIZE

    def _forget(self, number: int) -> None:
        """Drop a frame, in both of its forms."""
        if self._frames.pop(number, None) is not None:
            self.tables.pop(number << 12, None)

    def _window(self, address: int, length: int, verb: str) -> tuple[int, MmioDevice]:
        """The start and the device of the window that answers for a register access."""
        if (window := self._window_at.get(address >> 12)) is not None:
            start, end, device = window
            if length not in (1, 2, 4, 8) or address + length > end:
                raise BusError(f"a register must be {verb} with 1, 2, 4 or 8 bytes, not {length} at {address:#x}")
            return start, device
        if address >= 0 and address + length <= self.size:
            raise BusError(f"an access of {length:#x} bytes at {address:#x} must not run into a device window")
        raise BusError(
            f"an access must stay inside the {self.size:#x} bytes of RAM or a device window, "
            f"not {address:#x}+{length:#x}"
        )

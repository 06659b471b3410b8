"""The guest kernel's driver for descriptor rings, of the network card and of links alike.

The format is `vafw.hw.pci.ring`'s; only where the registers stand and how the other side is told differs, and that is
the port's affair. Batches are the whole economy here: one load for all new descriptors, one store to post them again,
and a single load or store for each frame.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final, final

from vafw.hw.pci.ring import DESCRIPTOR_SIZE, RingRegister
from vafw.hw.vmx.guest import GuestCpu

ENTRIES: Final = 128
BUFFER_BYTES: Final = 9216
"""Room for a jumbo frame."""
BUFFER_STRIDE: Final = 0x3000
RING_BYTES: Final = ENTRIES * DESCRIPTOR_SIZE
BUFFERS_BYTES: Final = ENTRIES * BUFFER_STRIDE
_DESCRIPTOR: Final = struct.Struct("<QHHI")


def _set_up(cpu: GuestCpu, registers: int, ring: int) -> None:
    """Base and size; a new ENTRIES makes HEAD and TAIL zero on a device, and in a page of memory they are zero."""
    cpu.write_u32(registers + RingRegister.BASE_LO, ring & 0xFFFF_FFFF)
    cpu.write_u32(registers + RingRegister.BASE_HI, ring >> 32)
    cpu.write_u32(registers + RingRegister.ENTRIES, ENTRIES)


@final
class ReceiveRing:
    """Buffers posted for frames to arrive in."""

    def __init__(self, cpu: GuestCpu, registers: int, ring: int, buffers: int) -> None:
        """Post every buffer; `registers`, `ring` and `buffers` are guest-physical addresses."""
        self._cpu = cpu
        self._registers = registers
        self._ring = ring
        self._buffers = [buffers + number * BUFFER_STRIDE for number in range(ENTRIES)]
        self._posted = [_DESCRIPTOR.pack(buffer, BUFFER_BYTES, 0, 0) for buffer in self._buffers]
        self._next = 0
        _set_up(cpu, registers, ring)
        cpu.write(ring, b"".join(self._posted))
        cpu.write_u32(registers + RingRegister.TAIL, ENTRIES - 1)

    def drain(self) -> list[bytes]:
        """Every frame that has arrived, in order; their buffers are posted again."""
        cpu, first = self._cpu, self._next
        count = (cpu.read_u32(self._registers + RingRegister.HEAD) - first) % ENTRIES
        if not count:
            return []
        frames = []
        number = first
        for start, stretch in _stretches(first, count):
            where = self._ring + start * DESCRIPTOR_SIZE
            raw = cpu.read(where, stretch * DESCRIPTOR_SIZE)
            for _, length, _, _ in _DESCRIPTOR.iter_unpack(raw):
                frames.append(cpu.read(self._buffers[number % ENTRIES], min(length, BUFFER_BYTES)))
                number += 1
            cpu.write(where, b"".join(self._posted[start : start + stretch]))
        self._next = number % ENTRIES
        cpu.write_u32(self._registers + RingRegister.TAIL, (self._next - 1) % ENTRIES)
        return frames


@final
class TransmitRing:
    """Frames on their way out, and behind them a queue of those that the ring has no room for yet."""

    def __init__(self, cpu: GuestCpu, registers: int, ring: int, buffers: int) -> None:
        self._cpu = cpu
        self._registers = registers
        self._ring = ring
        self._buffers = [buffers + number * BUFFER_STRIDE for number in range(ENTRIES)]
        self._tail = 0
        self.queue: deque[bytes] = deque()
        _set_up(cpu, registers, ring)
        cpu.write_u32(registers + RingRegister.TAIL, 0)

    def flush(self) -> int:
        """Post what fits of the queue, in order; returns how many frames. Writing TAIL is a device's doorbell."""
        queue = self.queue
        if not queue:
            return 0
        cpu = self._cpu
        head = cpu.read_u32(self._registers + RingRegister.HEAD)
        count = min((head - self._tail - 1) % ENTRIES, len(queue))
        if not count:
            return 0
        for start, stretch in _stretches(self._tail, count):
            descriptors = []
            for buffer in self._buffers[start : start + stretch]:
                frame = queue.popleft()
                cpu.write(buffer, frame)
                descriptors.append(_DESCRIPTOR.pack(buffer, len(frame), 0, 0))
            cpu.write(self._ring + start * DESCRIPTOR_SIZE, b"".join(descriptors))
        self._tail = (self._tail + count) % ENTRIES
        cpu.write_u32(self._registers + RingRegister.TAIL, self._tail)
        return count


def _stretches(first: int, count: int) -> list[tuple[int, int]]:
    """`count` entries from `first` as runs without a wrap: (first index, number)."""
    before_wrap = min(count, ENTRIES - first)
    return [each for each in ((first, before_wrap), (0, count - before_wrap)) if each[1]]

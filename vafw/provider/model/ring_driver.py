"""The guest kernel's driver for descriptor rings, of the network card and of links alike.

The format is `vafw.hw.pci.ring`'s; only where the registers stand and how the other side is told differs, and that is
the port's affair. Batches are the whole economy here: one load for all new descriptors, one store to post them again,
and a single load or store for each frame.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from vafw.hw.pci.ring import DESCRIPTOR, DESCRIPTOR_SIZE, RingRegister
from vafw.hw.vmx.guest import GuestCpu

ENTRIES: Final = 128
BUFFER_BYTES: Final = 9216
"""Room for a jumbo frame."""
BUFFER_STRIDE: Final = 0x3000
RING_BYTES: Final = ENTRIES * DESCRIPTOR_SIZE
BUFFERS_BYTES: Final = ENTRIES * BUFFER_STRIDE


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
        self._posted = [DESCRIPTOR.pack(buffer, BUFFER_BYTES, 0, 0) for buffer in self._buffers]
        self._next = 0
        self.ran_dry = False
        """The other side had used up every buffer before the last ones were posted, and may be waiting."""
        _set_up(cpu, registers, ring)
        cpu.write(ring, b"".join(self._posted))
        cpu.write_u32(registers + RingRegister.TAIL, ENTRIES - 1)

    def drain(self) -> list[bytes]:
        """Every frame that has arrived, in order; their buffers are posted again.

        HEAD is read once more after TAIL is written: the other side looks at TAIL again after it has shown HEAD, so one
        of the two sees what the other has done, and no wait for buffers goes unnoticed.
        """
        cpu, first = self._cpu, self._next
        count = (cpu.read_u32(self._registers + RingRegister.HEAD) - first) % ENTRIES
        if not count:
            return []
        frames = []
        for start, stretch in _stretches(first, count):
            where = self._ring + start * DESCRIPTOR_SIZE
            raw = cpu.read(where, stretch * DESCRIPTOR_SIZE)
            for number, (_, length, _, _) in enumerate(DESCRIPTOR.iter_unpack(raw), start):
                frames.append(cpu.read(self._buffers[number], min(length, BUFFER_BYTES)))
            cpu.write(where, b"".join(self._posted[start : start + stretch]))
        self._next = (first + count) % ENTRIES
        cpu.write_u32(self._registers + RingRegister.TAIL, (self._next - 1) % ENTRIES)
        self.ran_dry = cpu.read_u32(self._registers + RingRegister.HEAD) == (first - 1) % ENTRIES
        return frames


@final
class TransmitRing:
    """Frames on their way out, and behind them a queue of those that the ring has no room for yet."""

    def __init__(self, cpu: GuestCpu, registers: int, ring: int, buffers: int) -> None:
        self._cpu = cpu
        self._registers = registers
        self._ring = ring
        self._buffers = [buffers + number * BUFFER_STRIDE for number in range(ENTRIES)]
        self._head = self._tail = 0
        self.queue: deque[bytes] = deque()
        _set_up(cpu, registers, ring)
        cpu.write_u32(registers + RingRegister.TAIL, 0)

    def flush(self) -> int:
        """Post what fits of the queue, in order; returns how many frames. Writing TAIL is a device's doorbell."""
        queue = self.queue
        if not queue:
            return 0
        cpu = self._cpu
        if self._room < len(queue):
            self._head = cpu.read_u32(self._registers + RingRegister.HEAD)
        count = min(self._room, len(queue))
        if not count:
            return 0
        for start, stretch in _stretches(self._tail, count):
            descriptors = []
            for buffer in self._buffers[start : start + stretch]:
                frame = queue.popleft()
                cpu.write(buffer, frame)
                descriptors.append(DESCRIPTOR.pack(buffer, len(frame), 0, 0))
            cpu.write(self._ring + start * DESCRIPTOR_SIZE, b"".join(descriptors))
        self._tail = (self._tail + count) % ENTRIES
        cpu.write_u32(self._registers + RingRegister.TAIL, self._tail)
        return count

    @property
    def _room(self) -> int:
        """Descriptors that can be posted, going by the HEAD that was last seen: it can only have moved on since."""
        return (self._head - self._tail - 1) % ENTRIES


def _stretches(first: int, count: int) -> list[tuple[int, int]]:
    """`count` entries from `first` as runs without a wrap: (first index, number)."""
    before_wrap = ENTRIES - first
    return [(first, count)] if count <= before_wrap else [(first, before_wrap), (0, count - before_wrap)]

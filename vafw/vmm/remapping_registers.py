"""The VMM's hands on the remapping unit: its registers through the memory map, and its invalidation queue.

The unit is given a bounded number of looks to finish what it was told; one that does not is treated as failed, never as
finished. An invalidation that was not seen to complete would leave a device with memory that is no longer its own.
"""

from __future__ import annotations

from typing import TypeVar, final

from vafw.address import PAGE_SIZE, Hpa
from vafw.errors import PlatformUnable
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import DescriptorType, WaitDescriptor
from vafw.hw.vtd.registers import (
    OFFSETS,
    ONE_SHOT,
    FaultStatus,
    GlobalCommand,
    GlobalStatus,
    QueueAddress,
    QueueHead,
    QueueTail,
)
from vafw.register import Register
from vafw.vmm.frames import FrameAllocator

_R = TypeVar("_R", bound=Register)
_LOOKS = 1000
"""Reads of a status before the unit counts as failed; a real unit needs microseconds, a read takes about one."""


class UnitNotAnswering(PlatformUnable):
    """The remapping unit did not finish a command: nothing may be assumed about what it remembers."""


@final
class UnitRegisters:
    """One unit's register page."""

    def __init__(self, memory: PhysicalMemory, base: Hpa) -> None:
        self._memory = memory
        self.base = base

    def read(self, kind: type[_R], offset: int | None = None) -> _R:
        """A register's value, as a register to ask for fields; `offset` where there are several of a kind."""
        at = Hpa(self.base + (OFFSETS[kind] if offset is None else offset))
        raw = b"".join(self._memory.read(Hpa(at + dword), 4) for dword in range(0, kind.width // 8, 4))
        return kind(int.from_bytes(raw, "little"))

    def write(self, kind: type[Register], value: int, offset: int | None = None) -> None:
        """Write a register of 32 or 64 bits."""
        at = Hpa(self.base + (OFFSETS[kind] if offset is None else offset))
        self._memory.write(at, value.to_bytes(kind.width // 8, "little"))

    def write_dword(self, offset: int, value: int) -> None:
        """Write four bytes of a register that is longer."""
        self._memory.write_u32(Hpa(self.base + offset), value)

    def switch(self, command: int, *, on: bool = True) -> None:
        """Give one GCMD bit and wait until the bit of GSTS in the same place says so; one change at a time."""
        status = self.read(GlobalStatus).value & ~ONE_SHOT
        self.write(GlobalCommand, status | command if on else status & ~command)
        for _ in range(_LOOKS):
            if bool(self.read(GlobalStatus).value & command) == on:
                return
        raise UnitNotAnswering(f"the remapping unit must follow {GlobalCommand.describe(command)}, but GSTS does not")


@final
class InvalidationQueue:
    """One page of descriptors; a command is its descriptors and a wait, and ends when the wait has."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator, registers: UnitRegisters) -> None:
        """Hands an empty queue to the unit."""
        self._memory = memory
        self._registers = registers
        self._queue = frames.allocate()
        self._status = frames.allocate()
        for page in (self._queue, self._status):
            memory.clear(page, PAGE_SIZE)
        self._slots = PAGE_SIZE // 16
        self._tail = 0
        self._sequence = 0
        registers.write(QueueTail, 0)
        registers.write(QueueAddress, QueueAddress.pack(IQA=self._queue >> 12))
        registers.switch(GlobalCommand.pack(QIE=1))

    def submit(self, *descriptors: int) -> None:
        """Execute; UnitNotAnswering where the unit refuses one or does not finish."""
        self._sequence = self._sequence + 1 & 0xFFFF_FFFF
        wait = WaitDescriptor.pack(
            TYPE=DescriptorType.WAIT, SW=1, FN=1, DATA=self._sequence, STATUS_ADDRESS=self._status >> 2
        )
        for descriptor in (*descriptors, wait):
            self._memory.write(Hpa(self._queue + self._tail * 16), descriptor.to_bytes(16, "little"))
            self._tail = (self._tail + 1) % self._slots
        self._registers.write(QueueTail, QueueTail.pack(QT=self._tail))
        for _ in range(_LOOKS):
            if self._memory.read_u32(self._status) == self._sequence:
                return
            status = self._registers.read(FaultStatus)
            if status.IQE or status.ITE:
                break
        raise UnitNotAnswering("the remapping unit must finish an invalidation, but its queue stands still")

    def recover(self) -> None:
        """Put a harmless descriptor where the unit stopped, and clear what stopped it (FSTS.IQE, FSTS.ITE)."""
        harmless = WaitDescriptor.pack(TYPE=DescriptorType.WAIT)
        head = self._registers.read(QueueHead).QH
        self._memory.write(Hpa(self._queue + head * 16), harmless.to_bytes(16, "little"))
        self._registers.write(FaultStatus, FaultStatus.pack(IQE=1, ITE=1))
        self._registers.write(QueueTail, QueueTail.pack(QT=self._tail))

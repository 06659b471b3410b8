"""The register file: which register answers where, and what writing one starts (VT-d, "Register Descriptions").

Registers of one mechanism live with it (`faults`, `invalidation_queue`, `protected_memory`); those that switch the unit
as a whole live here: GCMD and GSTS, RTADDR and IRTA. SRTP, SIRTP and WBF act once, the other bits of GCMD become the
status, and QIE goes off only after the queue has been drained by a wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from vafw.hw.memory import BusError
from vafw.hw.vtd.capability import UnitCapability
from vafw.hw.vtd.faults import FaultLog
from vafw.hw.vtd.interrupt_remapping import InterruptRemapping, InterruptTable
from vafw.hw.vtd.invalidation_queue import InvalidationQueue, Progress
from vafw.hw.vtd.invalidation_registers import InvalidationRegisters
from vafw.hw.vtd.protected_memory import ProtectedRegions
from vafw.hw.vtd.registers import (
    OFFSETS,
    FaultRecording,
    GlobalCommand,
    GlobalStatus,
    InterruptTableAddress,
    RootTableAddress,
    Version,
)
from vafw.register import Register

_Action = Callable[[], None]


@final
class RegisterFile:
    """The page of registers, and what it has switched on."""

    def __init__(
        self,
        capability: UnitCapability,
        *,
        faults: FaultLog,
        commands: InvalidationRegisters,
        queue: InvalidationQueue,
        protection: ProtectedRegions,
        interrupts: InterruptRemapping,
    ) -> None:
        self.translating = False
        """GSTS.TES."""
        self.root_table = 0
        """What RTADDR held at the last SRTP."""
        self._faults = faults
        self._commands = commands
        self._queue = queue
        self._protection = protection
        self._interrupts = interrupts
        self._held_by_device = False
        """The queue stopped because a device did not answer (FSTS.ITE)."""
        self._command = GlobalCommand()
        self._status = GlobalStatus()
        self._root_address = RootTableAddress()
        self._interrupt_address = InterruptTableAddress()
        self._dwords = _dwords(self._placed(capability))

    @property
    def remapping(self) -> bool:
        """GSTS.IRES."""
        return bool(self._status.IRES)

    @property
    def passes_compatibility_format(self) -> bool:
        """Without remapping always, with it only while CFIS is set and no x2APIC ids are in use."""
        return not self._status.IRES or bool(self._status.CFIS and not self._interrupts.table.extended)

    def read(self, offset: int, size: int) -> int:
        """Four or eight aligned bytes; a gap reads as zero."""
        _require_whole_dwords(offset, size)
        if size == 8:
            return self.read(offset, 4) | self.read(offset + 4, 4) << 32
        if offset not in self._dwords:
            return 0
        register, shift, _ = self._dwords[offset]
        return register.sw_read() >> shift & 0xFFFF_FFFF

    def write(self, offset: int, size: int, value: int) -> None:
        """Four or eight aligned bytes; what a register commands is done when the write returns."""
        _require_whole_dwords(offset, size)
        if offset not in self._dwords:
            return
        register, shift, action = self._dwords[offset]
        if size == 8 and register.width == 32:
            self.write(offset, 4, value & 0xFFFF_FFFF)
            self.write(offset + 4, 4, value >> 32)
            return
        register.sw_write(value << shift, (1 << 8 * size) - 1 << shift)
        if action is not None:
            action()

    def __repr__(self) -> str:
        return f"{self._status!r} {self._root_address!r} {self._faults.status!r}"

    def _execute(self) -> None:
        """GCMD was written."""
        command, status = self._command, self._status
        if command.SRTP:
            self.root_table = self._root_address.RTA << 12
            status.hw_set(RTPS=1)
        if command.SIRTP:
            address = self._interrupt_address
            self._interrupts.table = InterruptTable(address.IRTA << 12, 2 << address.S, extended=bool(address.EIME))
            status.hw_set(IRTPS=1)
        if command.QIE and not status.QIES:
            self._queue.start()
        if status.TES and not command.TE:
            self._faults.restart()
        queue = command.QIE or (status.QIES and not self._queue.idle)
        status.hw_set(TES=command.TE, IRES=command.IRE, CFIS=command.CFI, QIES=int(bool(queue)))
        self.translating = bool(command.TE)

    def _run_context_command(self) -> None:
        if not self._status.QIES:
            self._commands.run_context_command()

    def _run_iotlb_command(self) -> None:
        if not self._status.QIES:
            self._commands.run_iotlb_command()

    def _run_queue(self) -> None:
        """IQT was written, or what held the queue up was cleared."""
        faults = self._faults
        if not self._status.QIES or faults.status.IQE or faults.status.ITE:
            return
        match self._queue.run():
            case Progress.BAD_DESCRIPTOR:
                faults.note_queue_error()
            case Progress.DEVICE_SILENT:
                faults.note_device_timeout()
                self._held_by_device = True

    def _fault_status_written(self) -> None:
        """Clearing ITE lets the queue go on; clearing IQE does not, until IQT is written again."""
        held = self._held_by_device
        self._faults.written()
        self._held_by_device = bool(self._faults.status.ITE)
        if held and not self._held_by_device:
            self._run_queue()

    def _placed(self, capability: UnitCapability) -> list[tuple[int, Register, _Action | None]]:
        """Every register with its offset and what a write to it starts."""
        faults, queue, commands = self._faults, self._queue, self._commands
        registers: list[tuple[Register, _Action | None]] = [
            *((each, None) for each in (Version(), capability.cap, capability.ecap, self._status)),
            *((each, None) for each in (self._root_address, self._interrupt_address, commands.address)),
            (self._command, self._execute),
            (commands.context_command, self._run_context_command),
            (commands.iotlb, self._run_iotlb_command),
            (queue.tail, self._run_queue),
            *((each, None) for each in (queue.head, queue.address, queue.error)),
            *((each, queue.written) for each in (queue.completion, queue.control)),
            *((each, None) for each in (queue.data, queue.message_address, queue.message_upper_address)),
            (faults.status, self._fault_status_written),
            (faults.control, faults.written),
            *((each, None) for each in (faults.data, faults.address, faults.upper_address)),
            *((each, self._protection.written) for each in self._protection.registers),
        ]
        first = OFFSETS[FaultRecording]
        return [
            *((OFFSETS[type(register)], register, action) for register, action in registers),
            *((first + 16 * n, each, faults.written) for n, each in enumerate(faults.recordings)),
        ]


def _dwords(
    placed: list[tuple[int, Register, _Action | None]],
) -> dict[int, tuple[Register, int, _Action | None]]:
    """Offset of each dword to its register, its shift in there and what a write to the register starts."""
    return {
        offset + shift // 8: (register, shift, action)
        for offset, register, action in placed
        for shift in range(0, register.width, 32)
    }


def _require_whole_dwords(offset: int, size: int) -> None:
    if size not in (4, 8) or offset % size:
        raise BusError(f"the remapping unit must be accessed with 4 or 8 aligned bytes, not {size} at {offset:#x}")

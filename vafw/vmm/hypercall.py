"""What a guest can ask of the VMM: VMCALL with a number in RAX and arguments in RBX, RCX and RDX; the answer in RAX.

    1 LINK_SETUP     port, address of the port's registers page (`vafw.vmm.port`)
    2 LINK_DOORBELL  port: I have posted frames, or buffers
    3 LOG            address, length of a line of text
    4 HEALTH         1 healthy or 0 not, address, length of a sentence
    5 REPORT         address, length of a JSON object
    6 SET_TIMER      TSC at which vector TIMER is wanted; 0: no more
    7 CONFIGURED     1 the new configuration is in force or 0 the old one is, address, length of a sentence
    8 WALL_CLOCK     address of 8 bytes for the time, in nanoseconds since 1970, UTC, when the TSC was 0; 0: not known

There is no call that names another VM, a link, a device or host memory. Every address is the guest's own and looked up
in its EPT; a call that makes no sense is answered with an error and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, final

from vafw.errors import VafwError
from vafw.hw.vmx.execution import Registers
from vafw.trace import EventKind, Value
from vafw.vmm.guest_memory import GuestAddressError
from vafw.vmm.port import LinkPort, RingFault
from vafw.vmm.record import Journal
from vafw.vmm.vm import GuestHealth, Vm
from vafw.vmm.wiring import Wiring

MAXIMUM_TEXT: Final = 4096
"""Bytes of a log line or a reason."""
MAXIMUM_REPORT: Final = 4 << 20
"""Bytes of a report."""


class Hypercall(IntEnum):
    """Numbers, in RAX."""

    LINK_SETUP = 1
    LINK_DOORBELL = 2
    LOG = 3
    HEALTH = 4
    REPORT = 5
    SET_TIMER = 6
    CONFIGURED = 7
    WALL_CLOCK = 8


class Status(IntEnum):
    """Answers, in RAX."""

    OK = 0
    UNKNOWN_CALL = 1
    NO_SUCH_PORT = 2
    BAD_ADDRESS = 3
    BAD_ARGUMENT = 4


class _Refusal(VafwError):
    """An argument makes no sense; carries the answer."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@final
class HypercallTable:
    """Carries calls out."""

    def __init__(self, wiring: Wiring, journal: Journal, interrupt: Callable[[LinkPort], None]) -> None:
        """`interrupt` tells the guest behind a port that its rings have changed."""
        self._wiring = wiring
        self._journal = journal
        self._interrupt = interrupt
        self.wall_ns = 0
        """What `WALL_CLOCK` says."""
        self._calls: Mapping[int, Callable[[Vm, Registers], None]] = {
            Hypercall.LINK_SETUP: self._link_setup,
            Hypercall.LINK_DOORBELL: self._link_doorbell,
            Hypercall.LOG: self._log,
            Hypercall.HEALTH: self._health,
            Hypercall.REPORT: self._report,
            Hypercall.SET_TIMER: self._set_timer,
            Hypercall.CONFIGURED: self._configured,
            Hypercall.WALL_CLOCK: self._wall_clock,
        }

    def call(self, vm: Vm, registers: Registers) -> Status:
        """Carry out one call; whatever is wrong with it is the answer."""
        found = self._calls.get(registers.rax)
        if found is None:
            return Status.UNKNOWN_CALL
        try:
            found(vm, registers)
        except _Refusal as refusal:
            return refusal.status
        except GuestAddressError:
            return Status.BAD_ADDRESS
        except RingFault:
            return Status.BAD_ARGUMENT
        return Status.OK

    def _link_setup(self, vm: Vm, registers: Registers) -> None:
        port = _port(vm, registers.rbx)
        port.set_up(registers.rcx)
        self._ring(port)

    def _link_doorbell(self, vm: Vm, registers: Registers) -> None:
        self._ring(_port(vm, registers.rbx))

    def _ring(self, port: LinkPort) -> None:
        for each in self._wiring.doorbell(port):
            self._interrupt(each)

    def _log(self, vm: Vm, registers: Registers) -> None:
        line = _text(vm, registers.rbx, registers.rcx)
        vm.log.append(line)
        self._journal.write(EventKind.GUEST_LOG, vm.name, line=line)

    def _health(self, vm: Vm, registers: Registers) -> None:
        vm.health = GuestHealth(registers.rbx == 1, _text(vm, registers.rcx, registers.rdx))

    def _configured(self, vm: Vm, registers: Registers) -> None:
        vm.configured = GuestHealth(registers.rbx == 1, _text(vm, registers.rcx, registers.rdx))

    def _report(self, vm: Vm, registers: Registers) -> None:
        if registers.rcx > MAXIMUM_REPORT:
            raise _Refusal(Status.BAD_ARGUMENT)
        try:
            text = vm.memory.read(registers.rbx, registers.rcx)
            report: Value = json.loads(text)
            if b"\\" in text or not text.isascii():  # else no string of it can hold a control character
                report = _printable(report)
        except (ValueError, RecursionError) as error:
            raise _Refusal(Status.BAD_ARGUMENT) from error
        if not isinstance(report, dict):
            raise _Refusal(Status.BAD_ARGUMENT)
        vm.report = report

    def _set_timer(self, vm: Vm, registers: Registers) -> None:
        vm.deadline_ns = registers.rbx or None

    def _wall_clock(self, vm: Vm, registers: Registers) -> None:
        vm.memory.write(registers.rbx, self.wall_ns.to_bytes(8, "little"))


def _port(vm: Vm, number: int) -> LinkPort:
    if number >= len(vm.ports):
        raise _Refusal(Status.NO_SUCH_PORT)
    return vm.ports[number]


def _text(vm: Vm, address: int, length: int) -> str:
    """Text of a guest: UTF-8 with what is not replaced, one line, no control characters for a terminal to obey."""
    if length > MAXIMUM_TEXT:
        raise _Refusal(Status.BAD_ARGUMENT)
    text = vm.memory.read(address, length).decode("utf-8", "replace")
    return _line(text)


def _printable(value: Value) -> Value:
    """A guest's JSON with no character in any of its strings that a terminal would obey, or that no file can hold."""
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {_line(key): _printable(each) for key, each in value.items()}
    return value


def _line(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)

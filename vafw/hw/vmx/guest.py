"""What runs in VMX non-root operation: a program as a generator, and the processor as the program sees it.

A guest's program is a Python generator; its loads and stores are calls of `GuestCpu.read` and `GuestCpu.write`, which
translate like any other, and what may end in a VM exit, a fault or a new state of the processor is yielded as an
`operation`. Code that the guest's IDT leads to is a generator too, put at its linear address with `GuestCpu.code`; when
it returns, that is its IRET.

A plain `read` or `write` that is refused cannot be restarted, because a generator can only be left at a yield. What EPT
refuses is a VM exit all the same; but a guest that is resumed after it has no handler and takes a triple fault.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, final

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import CR0_PG, VmcsField
from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Violation
from vafw.hw.vmx.guest_physical import GuestPhysical
from vafw.hw.vmx.operation import Access, Iret, Operation
from vafw.hw.vmx.paging import Fault, Paging
from vafw.hw.vmx.tlb import Tlb
from vafw.hw.vmx.translation import SHIFT_2M, SHIFT_4K, SIZE_2M, SIZE_4K, Mappings

_MASK_2M = SIZE_2M - 1
_MASK_4K = SIZE_4K - 1
_NOTHING: Final = Mappings()
"""What a guest that pages finds where one that does not finds its guest-physical mappings."""

Refusal: TypeAlias = Fault | Violation | Misconfiguration
Running: TypeAlias = Generator[Operation, object, None]


class GuestProgram(Protocol):
    """Code of a guest: called once with its processor when the VM is launched."""

    def __call__(self, cpu: GuestCpu, /) -> Running:
        """Start running."""
        ...


class GuestFault(Exception):
    """An exception, seen by a guest without an IDT where it was waiting for an `Access`."""

    def __init__(self, vector: int, error_code: int) -> None:
        super().__init__(f"exception {vector}, error code {error_code:#x}")
        self.vector = vector
        self.error_code = error_code


class Unrestartable(BaseException):
    """A plain access that was refused; it unwinds the whole program and no guest code may swallow it."""

    def __init__(self, outcome: Refusal) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


@final
class GuestCpu:
    """The processor as a guest's program sees it: loads and stores by linear address, and the TSC."""

    def __init__(self, memory: PhysicalMemory, capability: EptCapability) -> None:
        """The processor binds it to a VMCS at each VM entry."""
        self.capability = capability
        self._memory = memory
        self._mappings = Mappings()
        self._fields: dict[int, int] = {}
        self._tlb = Tlb()
        self._vpid = 0
        self._tsc = 0
        self.pages = False
        """CR0.PG: addresses are linear and the guest's own tables are walked."""
        self.second = GuestPhysical(memory, capability)
        self.paging = Paging(memory, capability, self.second)
        self.code: dict[int, GuestProgram] = {}
        """Handlers, by the linear address that an IDT gate names."""
        self.refused: Refusal | None = None
        """The plain access that ended the program."""

    # -- the processor's side ---------------------------------------------------------------------------------

    def bind(self, fields: dict[int, int], tlb: Tlb, vpid: int, tsc: int) -> None:
        """VM entry, after `second` was bound: this VMCS, the TLB and what to tag its entries with, and this TSC."""
        self._fields = fields
        self._tlb = tlb
        self._vpid = vpid
        self._tsc = tsc
        self.choose_mode()

    def choose_mode(self) -> None:
        """CR0.PG has been loaded."""
        self.pages = bool(self._fields[VmcsField.GUEST_CR0] & CR0_PG)
        self._mappings = _NOTHING if self.pages else self.second.mappings
        if self.pages:
            self.paging.bind(self._fields, self._tlb, self._vpid, self.second.ep4ta)

    @property
    def physical_bits(self) -> int:
        """MAXPHYADDR."""
        return self.capability.physical_bits

    def flush(self) -> None:
        """Forget every linear address of the current VPID."""
        self._tlb.flush(self._vpid)
        if self.pages:
            self.paging.retag()

    def access(self, operation: Access) -> bytes | Refusal:
        """Carry out an `Access`; nothing is stored where one byte of it may not be."""
        places = []
        for page, size in _pages(operation.address, max(operation.size, len(operation.data), 1)):
            found = self.translate(page, operation.kind, user=operation.user)
            if not isinstance(found, int):
                return found
            places.append((found, size))
        if operation.kind is AccessKind.FETCH:
            return b""
        if operation.kind is AccessKind.READ:
            return b"".join(self._memory.read(Hpa(hpa), size) for hpa, size in places)[: operation.size]
        done = 0
        for hpa, size in places:
            self._memory.write(Hpa(hpa), operation.data[done : done + size])
            done += size
        return b""

    def translate(self, linear: int, kind: AccessKind, *, user: bool = False) -> int | Refusal:
        """The host-physical address for an access of one page."""
        if self.pages:
            return self.paging.translate(linear, kind, user=user)
        delta = self.second.delta(linear, kind)
        return linear + delta if isinstance(delta, int) else delta

    # -- the program's side -----------------------------------------------------------------------------------

    def tsc(self) -> int:
        """The time-stamp counter at VM entry, with the VMCS's offset; it counts nanoseconds."""
        return self._tsc

    def read(self, address: int, length: int) -> bytes:
        """Load `length` bytes."""
        delta = self._mappings.read_2m.get(address >> SHIFT_2M)
        if delta is not None and (address & _MASK_2M) + length <= SIZE_2M:
            return self._memory.read(Hpa(address + delta), length)
        delta = self._mappings.read_4k.get(address >> SHIFT_4K)
        if delta is not None and (address & _MASK_4K) + length <= SIZE_4K:
            return self._memory.read(Hpa(address + delta), length)
        return self._read_slowly(address, length)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data`."""
        delta = self._mappings.write_2m.get(address >> SHIFT_2M)
        if delta is not None and (address & _MASK_2M) + len(data) <= SIZE_2M:
            self._memory.write(Hpa(address + delta), data)
            return
        delta = self._mappings.write_4k.get(address >> SHIFT_4K)
        if delta is not None and (address & _MASK_4K) + len(data) <= SIZE_4K:
            self._memory.write(Hpa(address + delta), data)
            return
        self._write_slowly(address, data)

    def read_u32(self, address: int) -> int:
        """Load four bytes, little-endian."""
        return int.from_bytes(self.read(address, 4), "little")

    def write_u32(self, address: int, value: int) -> None:
        """Store four bytes, little-endian."""
        self.write(address, value.to_bytes(4, "little"))

    def read_u64(self, address: int) -> int:
        """Load eight bytes, little-endian."""
        return int.from_bytes(self.read(address, 8), "little")

    def write_u64(self, address: int, value: int) -> None:
        """Store eight bytes, little-endian."""
        self.write(address, value.to_bytes(8, "little"))

    def _read_slowly(self, address: int, length: int) -> bytes:
        parts = []
        for page, size in _pages(address, length):
            parts.append(self._memory.read(Hpa(self._place(page, AccessKind.READ)), size))
        return b"".join(parts)

    def _write_slowly(self, address: int, data: bytes | bytearray | memoryview) -> None:
        places = [(page, size, self._place(page, AccessKind.WRITE)) for page, size in _pages(address, len(data))]
        for page, size, hpa in places:
            done = page - address
            self._memory.write(Hpa(hpa), data[done : done + size])

    def _place(self, address: int, kind: AccessKind) -> int:
        """As `translate`; what is refused ends the program, and so does every later attempt to go on."""
        found = self.refused or self.translate(address, kind)
        if isinstance(found, int):
            return found
        self.refused = found
        raise Unrestartable(found)


@dataclass(slots=True)
class Suspended:
    """Code that an event has interrupted, waiting for the IRET."""

    running: Running | None
    operation: Operation | None
    rip: int
    fresh: bool
    result: object
    error_code: bool
    """Whether an error code lies on the stack below its frame."""


@dataclass(slots=True)
class GuestContext:
    """A placed program between two VM exits."""

    cpu: GuestCpu
    program: GuestProgram
    running: Running | None = None
    operation: Operation | None = None
    """What it waits for; None before its first instruction and after its last."""
    rip: int = 0
    """Where that operation stands."""
    fresh: bool = True
    """It has not run yet."""
    result: object = None
    """Of the operation, where it was completed before an event interrupted the guest."""
    reported: bool = False
    """The plain access that ended the program has caused its VM exit."""
    died_of: str = ""
    """How the program ended, for the record."""
    suspended: list[Suspended] = field(default_factory=list)
    """What interrupts and exceptions have interrupted, the latest last."""

    def start(self) -> None:
        """Run from the entry point to the first operation."""
        self.fresh = False
        self.running = self.program(self.cpu)
        self._step(self.running.send, None)

    def complete(self, value: object) -> None:
        """Finish the operation with a value and run to the next one."""
        if self.running is not None:
            self._step(self.running.send, value)

    def fault(self, fault: GuestFault) -> None:
        """Throw an exception in where the program waits."""
        if self.running is not None:
            self._step(self.running.throw, fault)

    def interrupt(self, code: GuestProgram, rip: int, *, error_code: bool) -> None:
        """Leave what is running, for the handler whose code stands at `rip`."""
        last = Suspended(self.running, self.operation, self.rip, self.fresh, self.result, error_code)
        self.suspended.append(last)
        self.fresh = False
        self.rip = rip
        self.running = code(self.cpu)
        self._step(self.running.send, None)

    def resume(self) -> None:
        """Go back to what was interrupted last."""
        last = self.suspended.pop()
        self.running, self.operation, self.rip, self.fresh = last.running, last.operation, last.rip, last.fresh
        self.result = last.result

    def end(self, why: str) -> None:
        """The guest can run no further: its next operation is a triple fault."""
        self.running = None
        self.operation = None
        self.died_of = self.died_of or why

    def _step(self, go_on: Callable[..., Operation], value: object) -> None:
        """One stretch of guest code. Whatever it raises is the guest's own end, never the model's."""
        self.operation = None
        try:
            self.operation = go_on(value)
        except StopIteration:
            if self.suspended and self.cpu.refused is None:
                self.operation = Iret()
            self.died_of = "" if self.operation else "the program returned"
        except (Unrestartable, Exception) as error:
            self.died_of = f"{type(error).__name__}: {error}"
        if self.cpu.refused is not None or self.operation is None:
            self.running = None
            self.operation = None


def _pages(address: int, length: int) -> list[tuple[int, int]]:
    """The stretches of 4 KiB pages that an access touches, as (address, bytes)."""
    stretches = []
    while length > 0:
        size = min(length, SIZE_4K - (address & _MASK_4K))
        stretches.append((address, size))
        address, length = address + size, length - size
    return stretches

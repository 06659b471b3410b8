"""What runs in VMX non-root operation: a program as a generator, and the processor as the program sees it.

There is no instruction decoder here. A guest's program is a Python generator; its loads and stores are calls of
`GuestCpu.read` and `GuestCpu.write`, which go through EPT like any other, and what may end in a VM exit is yielded:

    vector = yield Hlt()                   STI; HLT: the value sent back is the vector of the interrupt that woke it
    rax = yield Vmcall(number, ...)        the VMM's answer
    eax, ebx, ecx, edx = yield Cpuid(leaf)
    data = yield Access(gpa, length)       a load that may fault: GuestFault is thrown in, as to a fault handler

A plain `read` or `write` that EPT refuses cannot be restarted, because a generator can only be left at a yield. It is a
VM exit all the same; but a guest that is resumed after it has no handler and takes a triple fault.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

from vafw.address import Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Translation, Violation, walk
from vafw.hw.vmx.translation import SHIFT_2M, SHIFT_4K, SIZE_2M, SIZE_4K, Mappings

_MASK_2M = SIZE_2M - 1
_MASK_4K = SIZE_4K - 1


@dataclass(frozen=True, slots=True)
class Hlt:
    """STI; HLT: wait for an interrupt."""


@dataclass(frozen=True, slots=True)
class Vmcall:
    """A call of the VMM, with what stands in the registers."""

    rax: int
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0


@dataclass(frozen=True, slots=True)
class Cpuid:
    """CPUID of one leaf."""

    leaf: int


@dataclass(frozen=True, slots=True)
class Access:
    """A load, a store (`data` given) or a fetch that the guest is prepared to see fault."""

    gpa: Gpa
    length: int
    kind: AccessKind = AccessKind.READ
    data: bytes = b""


PrivilegedOperation: TypeAlias = Hlt | Vmcall | Cpuid | Access
Running: TypeAlias = Generator[PrivilegedOperation, object, None]


class GuestProgram(Protocol):
    """Code of a guest: called once with its processor when the VM is launched."""

    def __call__(self, cpu: GuestCpu, /) -> Running:
        """Start running."""
        ...


class GuestFault(Exception):
    """An exception that the VMM injected, seen where the guest was waiting for an `Access`."""

    def __init__(self, vector: int, error_code: int) -> None:
        super().__init__(f"exception {vector}, error code {error_code:#x}")
        self.vector = vector
        self.error_code = error_code


class Unrestartable(BaseException):
    """A plain access that EPT refused; it unwinds the whole program and no guest code may swallow it."""

    def __init__(self, outcome: Violation | Misconfiguration) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


@final
class GuestCpu:
    """The processor as a guest's program sees it: loads and stores by guest-physical address, and the TSC."""

    def __init__(self, memory: PhysicalMemory, capability: EptCapability) -> None:
        """The processor binds it to an EPT pointer at each VM entry."""
        self._memory = memory
        self._capability = capability
        self._mappings = Mappings()
        self._eptp = 0
        self._tsc = 0
        self.refused: Violation | Misconfiguration | None = None
        """The plain access that ended the program."""

    def bind(self, eptp: int, mappings: Mappings, tsc: int) -> None:
        """VM entry: use these tables, what is remembered of them, and this time-stamp counter."""
        self._eptp = eptp
        self._mappings = mappings
        self._tsc = tsc

    def tsc(self) -> int:
        """RDTSC: the time-stamp counter at VM entry, with the VMCS's offset; it counts nanoseconds."""
        return self._tsc

    def read(self, gpa: int, length: int) -> bytes:
        """Load `length` bytes."""
        delta = self._mappings.read_2m.get(gpa >> SHIFT_2M)
        if delta is not None and (gpa & _MASK_2M) + length <= SIZE_2M:
            return self._memory.read(Hpa(gpa + delta), length)
        delta = self._mappings.read_4k.get(gpa >> SHIFT_4K)
        if delta is not None and (gpa & _MASK_4K) + length <= SIZE_4K:
            return self._memory.read(Hpa(gpa + delta), length)
        return self._read_slowly(gpa, length)

    def write(self, gpa: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data`."""
        delta = self._mappings.write_2m.get(gpa >> SHIFT_2M)
        if delta is not None and (gpa & _MASK_2M) + len(data) <= SIZE_2M:
            self._memory.write(Hpa(gpa + delta), data)
            return
        delta = self._mappings.write_4k.get(gpa >> SHIFT_4K)
        if delta is not None and (gpa & _MASK_4K) + len(data) <= SIZE_4K:
            self._memory.write(Hpa(gpa + delta), data)
            return
        self._write_slowly(gpa, data)

    def read_u32(self, gpa: int) -> int:
        """Load four bytes, little-endian."""
        return int.from_bytes(self.read(gpa, 4), "little")

    def write_u32(self, gpa: int, value: int) -> None:
        """Store four bytes, little-endian."""
        self.write(gpa, value.to_bytes(4, "little"))

    def access(self, operation: Access) -> bytes | Violation | Misconfiguration:
        """Carry out an `Access`; nothing is stored where one byte of it may not be."""
        for gpa, _ in _pages(operation.gpa, max(operation.length, len(operation.data), 1)):
            found = self.translate(Gpa(gpa), operation.kind)
            if not isinstance(found, int):
                return found
        if operation.kind is AccessKind.WRITE:
            self.write(operation.gpa, operation.data)
            return b""
        return self.read(operation.gpa, operation.length) if operation.kind is AccessKind.READ else b""

    def translate(self, gpa: Gpa, kind: AccessKind) -> int | Violation | Misconfiguration:
        """Host-physical minus guest-physical address of the page of `gpa`: remembered, else walked and remembered."""
        mappings = self._mappings
        large, small = (
            (mappings.write_2m, mappings.write_4k) if kind is AccessKind.WRITE else (mappings.read_2m, mappings.read_4k)
        )
        if kind is not AccessKind.FETCH:
            delta = large.get(gpa >> SHIFT_2M)
            if delta is None:
                delta = small.get(gpa >> SHIFT_4K)
            if delta is not None:
                return delta
        found = walk(self._memory, self._eptp, gpa, kind, self._capability)
        if not isinstance(found, Translation):
            mappings.drop(gpa)
            return found
        mappings.remember(gpa, kind, found)
        return found.hpa - gpa

    def _read_slowly(self, gpa: int, length: int) -> bytes:
        parts = []
        for page, size in _pages(gpa, length):
            parts.append(self._memory.read(Hpa(page + self._delta(page, AccessKind.READ)), size))
        return b"".join(parts)

    def _write_slowly(self, gpa: int, data: bytes | bytearray | memoryview) -> None:
        deltas = [(page, size, self._delta(page, AccessKind.WRITE)) for page, size in _pages(gpa, len(data))]
        for page, size, delta in deltas:
            done = page - gpa
            self._memory.write(Hpa(page + delta), data[done : done + size])

    def _delta(self, gpa: int, kind: AccessKind) -> int:
        """As `translate`; what EPT refuses ends the program, and so does every later attempt to go on."""
        found = self.refused or self.translate(Gpa(gpa), kind)
        if isinstance(found, int):
            return found
        self.refused = found
        raise Unrestartable(found)


@dataclass(slots=True)
class GuestContext:
    """A placed program between two VM exits."""

    cpu: GuestCpu
    program: GuestProgram
    running: Running | None = None
    operation: PrivilegedOperation | None = None
    """What it waits for; None before its first instruction and after its last."""
    rip: int = 0
    """Where that operation stands."""
    length: int = 0
    """Bytes of its instruction."""
    fresh: bool = True
    """It has not run yet."""
    reported: bool = False
    """The plain access that ended the program has caused its VM exit."""
    died_of: str = ""
    """How the program ended, for the record."""

    def start(self) -> None:
        """Run from the entry point to the first privileged operation."""
        self.fresh = False
        self.running = self.program(self.cpu)
        self._step(self.running, None)

    def complete(self, value: object) -> None:
        """Finish the operation with a value and run to the next one."""
        if self.running is not None:
            self._step(self.running, value)

    def fault(self, fault: GuestFault) -> None:
        """Deliver an exception where the program waits."""
        if self.running is not None:
            self._step(self.running, fault)

    def end(self, why: str) -> None:
        """The guest can run no further: its next operation is a triple fault."""
        self.running = None
        self.operation = None
        self.died_of = self.died_of or why

    def _step(self, running: Running, value: object) -> None:
        """One stretch of guest code. Whatever it raises is the guest's own end, never the model's."""
        self.operation = None
        try:
            self.operation = running.throw(value) if isinstance(value, GuestFault) else running.send(value)
        except StopIteration:
            self.died_of = "the program returned"
        except (Unrestartable, Exception) as error:
            self.died_of = f"{type(error).__name__}: {error}"
        if self.cpu.refused is not None or self.operation is None:
            self.running = None
            self.operation = None


def _pages(gpa: int, length: int) -> list[tuple[int, int]]:
    """The stretches of 4 KiB pages that an access touches, as (address, bytes)."""
    stretches = []
    while length > 0:
        size = min(length, SIZE_4K - (gpa & _MASK_4K))
        stretches.append((gpa, size))
        gpa, length = gpa + size, length - size
    return stretches

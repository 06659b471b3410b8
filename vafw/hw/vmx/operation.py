"""What a guest's program yields: one value for each instruction that may end in a VM exit, a fault or a new state.

There is no instruction decoder. A yielded operation stands for one instruction of `length` bytes at RIP; what is sent
back is what the instruction leaves in its destination.

    vector = yield Hlt()                        STI; HLT: of a program without an IDT, the vector that woke it
    rax = yield Vmcall(number, ...)             the VMM's answer
    eax, ebx, ecx, edx = yield Cpuid(leaf)
    data = yield Access(address, length)        a load; with `data` a store, with FETCH an instruction fetch
    value = yield MoveFromCr(3); yield MoveToCr(3, value)
    value = yield In(port); yield Out(port, value)
    value = yield Rdmsr(index); yield Wrmsr(index, value)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from vafw.hw.vmx.bits import ExitReason
from vafw.hw.vmx.ept import AccessKind


@dataclass(frozen=True, slots=True)
class Hlt:
    """STI; HLT: wait for an interrupt. In a program with an IDT just HLT."""

    length: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Vmcall:
    """A call of the VMM, with what stands in the registers."""

    length: ClassVar[int] = 3
    rax: int
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0


@dataclass(frozen=True, slots=True)
class Cpuid:
    """CPUID of one leaf."""

    length: ClassVar[int] = 2
    leaf: int


@dataclass(frozen=True, slots=True)
class Access:
    """A load, a store (`data` given) or a fetch that the guest is prepared to see fault."""

    length: ClassVar[int] = 3
    address: int
    """Linear; guest-physical in a guest that does not page."""
    size: int
    kind: AccessKind = AccessKind.READ
    data: bytes = b""
    user: bool = False
    """At CPL 3."""


@dataclass(frozen=True, slots=True)
class MoveToCr:
    """MOV to CR0, CR3 or CR4."""

    length: ClassVar[int] = 3
    number: int
    value: int


@dataclass(frozen=True, slots=True)
class MoveFromCr:
    """MOV from CR0, CR3 or CR4."""

    length: ClassVar[int] = 3
    number: int


@dataclass(frozen=True, slots=True)
class Clts:
    """Clear CR0.TS."""

    length: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Invlpg:
    """Forget the translation of one linear address."""

    length: ClassVar[int] = 3
    address: int


@dataclass(frozen=True, slots=True)
class In:
    """IN from a port."""

    length: ClassVar[int] = 2
    port: int
    size: int = 1


@dataclass(frozen=True, slots=True)
class Out:
    """OUT to a port."""

    length: ClassVar[int] = 2
    port: int
    value: int
    size: int = 1


@dataclass(frozen=True, slots=True)
class Rdmsr:
    """Read a model-specific register."""

    length: ClassVar[int] = 2
    index: int


@dataclass(frozen=True, slots=True)
class Wrmsr:
    """Write a model-specific register."""

    length: ClassVar[int] = 2
    index: int
    value: int


@dataclass(frozen=True, slots=True)
class Rdtsc:
    """Read the time-stamp counter."""

    length: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Sti:
    """Set RFLAGS.IF; interrupts stay blocked for one more instruction."""

    length: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Cli:
    """Clear RFLAGS.IF."""

    length: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class LoadIdt:
    """LIDT."""

    length: ClassVar[int] = 3
    base: int
    limit: int


@dataclass(frozen=True, slots=True)
class LoadStack:
    """MOV to RSP."""

    length: ClassVar[int] = 3
    pointer: int


@dataclass(frozen=True, slots=True)
class Raise:
    """An instruction that raises an exception, such as a division by zero or UD2."""

    length: ClassVar[int] = 2
    vector: int
    error_code: int | None = None


@dataclass(frozen=True, slots=True)
class SoftwareInterrupt:
    """INT n."""

    length: ClassVar[int] = 2
    vector: int


@dataclass(frozen=True, slots=True)
class Nop:
    """An instruction that does nothing."""

    length: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Exiting:
    """An instruction that always exits: GETSEC, INVD, XSETBV, and every VMX instruction but VMCALL."""

    length: ClassVar[int] = 3
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Iret:
    """Return from a handler; a handler's generator that ends does this by itself."""

    length: ClassVar[int] = 2


Operation: TypeAlias = (
    Hlt
    | Vmcall
    | Cpuid
    | Access
    | MoveToCr
    | MoveFromCr
    | Clts
    | Invlpg
    | In
    | Out
    | Rdmsr
    | Wrmsr
    | Rdtsc
    | Sti
    | Cli
    | LoadIdt
    | LoadStack
    | Raise
    | SoftwareInterrupt
    | Nop
    | Exiting
    | Iret
)

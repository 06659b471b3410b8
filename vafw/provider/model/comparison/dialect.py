"""How a guest says what only the hardware or its VMM can do: in instructions, in hypercalls, or in translated code.

`Instructions` is an unmodified guest. `Hypercalls` is a para-virtual one, changed to call its VMM: updates of page
tables go in batches, interrupts are masked in a page that guest and VMM share, and what reads the processor's state is
asked for instead of executed. `Translated` is an unmodified guest whose sensitive instructions a binary translator has
replaced by calls into the VMM's code in the guest's own address space: no VM exit, but a callout, counted here.

Each method is a generator of operations, to be used with ``yield from``.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Generator, Sequence
from enum import IntEnum
from typing import Final, Protocol, TypeAlias, final

from vafw.hw.vmx.ept import AccessKind
from vafw.hw.vmx.operation import (
    Access,
    Cli,
    Cpuid,
    Hlt,
    Invlpg,
    MoveToCr,
    Operation,
    Out,
    Sti,
    Vmcall,
    Wrmsr,
)
from vafw.provider.model.comparison.layout import BUFFER

Steps: TypeAlias = Generator[Operation, object, None]
Update: TypeAlias = tuple[int, int]
"""Where an entry stands (kernel-linear) and its new value."""

CONSOLE_PORT: Final = 0xE9
END_OF_INTERRUPT: Final = 0x80B
"""The x2APIC's EOI register."""
OTHER_MSR: Final = 0xC000_0082
SHARED_FLAG: Final = BUFFER - 8
"""Where a para-virtual guest masks interrupts."""
BATCH: Final = 64
"""Updates of one hypercall."""
_UPDATE: Final = struct.Struct("<QQ")


class Call(IntEnum):
    """Numbers of the para-virtual guest's hypercalls, and DONE of every guest."""

    DONE = 0
    SWITCH = 1
    UPDATE = 2
    CPUID = 3
    PORT = 4
    MSR = 5
    IDLE = 6


class Dialect(Protocol):
    """What a kernel needs beside loads and stores."""

    def switch(self, root: int) -> Steps:
        """Load CR3."""
        ...

    def update(self, updates: Sequence[Update], stale: Sequence[int]) -> Steps:
        """Change entries of the page tables, then make sure that no stale translation of these pages is used."""
        ...

    def cpuid(self) -> Steps:
        """Ask the processor what it is."""
        ...

    def port(self) -> Steps:
        """Write to an I/O port."""
        ...

    def msr(self, index: int) -> Steps:
        """Write to a model-specific register."""
        ...

    def mask(self, *, masked: bool) -> Steps:
        """Mask interrupts, or unmask them."""
        ...

    def idle(self) -> Steps:
        """Halt until an interrupt."""
        ...


@final
class Instructions:
    """An unmodified guest."""

    def switch(self, root: int) -> Steps:
        """MOV to CR3."""
        yield MoveToCr(3, root)

    def update(self, updates: Sequence[Update], stale: Sequence[int]) -> Steps:
        """Stores, and an INVLPG for each page whose old translation may be remembered."""
        for place, value in updates:
            yield Access(place, 0, AccessKind.WRITE, value.to_bytes(8, "little"))
        for linear in stale:
            yield Invlpg(linear)

    def cpuid(self) -> Steps:
        """CPUID."""
        yield Cpuid(1)

    def port(self) -> Steps:
        """OUT."""
        yield Out(CONSOLE_PORT, 0x2E)

    def msr(self, index: int) -> Steps:
        """WRMSR."""
        yield Wrmsr(index, 0)

    def mask(self, *, masked: bool) -> Steps:
        """CLI or STI."""
        yield Cli() if masked else Sti()

    def idle(self) -> Steps:
        """STI; HLT."""
        yield Sti()
        yield Hlt()


@final
class Hypercalls:
    """A guest that was changed to call its VMM."""

    def switch(self, root: int) -> Steps:
        """One call."""
        yield Vmcall(Call.SWITCH, root)

    def update(self, updates: Sequence[Update], stale: Sequence[int]) -> Steps:
        """A call for each batch; the VMM invalidates what it changes."""
        pairs = [(place, value) for place, value in updates]
        lines = [*stale, *([0] * (len(pairs) - len(stale)))]
        for start in range(0, len(pairs), BATCH):
            some = pairs[start : start + BATCH]
            words = b"".join(_UPDATE.pack(*pair) for pair in some)
            words += b"".join(each.to_bytes(8, "little") for each in lines[start : start + BATCH])
            yield Access(BUFFER, 0, AccessKind.WRITE, words)
            yield Vmcall(Call.UPDATE, BUFFER, len(some))

    def cpuid(self) -> Steps:
        """A call instead of the instruction."""
        yield Vmcall(Call.CPUID)

    def port(self) -> Steps:
        """A call instead of the instruction."""
        yield Vmcall(Call.PORT)

    def msr(self, index: int) -> Steps:
        """A call; the end of an interrupt needs none, since the VMM delivers no second one before the handler ends."""
        if index != END_OF_INTERRUPT:
            yield Vmcall(Call.MSR, index)

    def mask(self, *, masked: bool) -> Steps:
        """A store into the shared page."""
        yield Access(SHARED_FLAG, 0, AccessKind.WRITE, int(masked).to_bytes(8, "little"))

    def idle(self) -> Steps:
        """A call that returns when there is something to do."""
        yield Vmcall(Call.IDLE)


class Emulator(Protocol):
    """The VMM's code that translated instructions call."""

    def emulate(self, operation: Operation) -> None:
        """Carry one out on the virtual processor."""
        ...


@final
class Translated:
    """An unmodified guest behind a binary translator."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._plain = Instructions()
        self.callouts: Counter[str] = Counter()
        """Sensitive instructions that called the VMM's code without leaving the guest."""
        self.blocks: set[str] = set()
        """Stretches of guest code that were translated, each once."""

    def switch(self, root: int) -> Steps:
        """Translated."""
        yield from self._translate("switch", self._plain.switch(root))

    def update(self, updates: Sequence[Update], stale: Sequence[int]) -> Steps:
        """Translated."""
        yield from self._translate("update", self._plain.update(updates, stale))

    def cpuid(self) -> Steps:
        """Translated."""
        yield from self._translate("cpuid", self._plain.cpuid())

    def port(self) -> Steps:
        """Translated."""
        yield from self._translate("port", self._plain.port())

    def msr(self, index: int) -> Steps:
        """Translated."""
        yield from self._translate("msr", self._plain.msr(index))

    def mask(self, *, masked: bool) -> Steps:
        """Translated."""
        yield from self._translate("mask", self._plain.mask(masked=masked))

    def idle(self) -> Steps:
        """The translated HLT leaves to the VMM, which has other things to run."""
        self.blocks.add("idle")
        yield from self._translate("idle", self._plain.mask(masked=False))
        yield Hlt()

    def _translate(self, block: str, code: Steps) -> Steps:
        """Loads and stores run as they are; whatever is sensitive becomes a callout."""
        self.blocks.add(block)
        for operation in code:
            if isinstance(operation, Access):
                _ = yield operation
            else:
                self.callouts[type(operation).__name__] += 1
                self._emulator.emulate(operation)

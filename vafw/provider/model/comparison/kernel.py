"""The guest of a comparison: a kernel that does a workload's steps and handles its own page faults and interrupts.

The same code under every technique but for the dialect. What it reads is summed up, and every technique must end with
the same sum: a technique that saves exits by getting things wrong would be found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, final

from vafw.address import PAGE_SIZE
from vafw.document.workload import Workload, WorkloadStep
from vafw.hw.vmx.ept import AccessKind
from vafw.hw.vmx.guest import GuestCpu, Running
from vafw.hw.vmx.operation import Access, Nop, Vmcall
from vafw.provider.model.comparison.dialect import END_OF_INTERRUPT, OTHER_MSR, Call, Dialect, Steps
from vafw.provider.model.comparison.layout import (
    DEMAND,
    DEVICE_VECTOR,
    PAGE,
    PAGE_FAULT_VECTOR,
    TIMER_VECTOR,
    USER,
    Layout,
    handler_address,
)

_WORD: Final = 8


@final
class Kernel:
    """One run of a workload."""

    def __init__(
        self,
        workload: Workload,
        layout: Layout,
        dialect: Dialect,
        cr2: Callable[[], int],
        interrupt: Callable[[], None],
    ) -> None:
        """`cr2` reads CR2; `interrupt` makes a device raise its interrupt."""
        self._workload = workload
        self._layout = layout
        self._dialect = dialect
        self._cr2 = cr2
        self._interrupt = interrupt
        self._process = 0
        self._cursor = 0
        self.sum = 0
        """Of everything that was read."""
        self.faults = 0
        """Page faults that the guest's own handler saw."""
        self.interrupts = 0
        """Interrupts that its handlers saw."""

    def install(self, cpu: GuestCpu) -> None:
        """Put the handlers where the IDT's gates lead."""
        cpu.code[handler_address(PAGE_FAULT_VECTOR)] = lambda _: self._on_page_fault()
        cpu.code[handler_address(TIMER_VECTOR)] = lambda _: self._on_interrupt()
        cpu.code[handler_address(DEVICE_VECTOR)] = lambda _: self._on_interrupt()

    def program(self, _cpu: GuestCpu) -> Running:
        """The whole workload."""
        yield from self._dialect.mask(masked=False)
        for _ in range(self._workload.rounds):
            for step in self._workload.steps:
                yield from self._step(step)
        while True:
            yield Vmcall(Call.DONE)

    # -- steps ------------------------------------------------------------------------------------------------

    def _step(self, step: WorkloadStep) -> Steps:
        for name, act in (
            ("read", self._read),
            ("write", self._write),
            ("fault", self._fault),
            ("remap", self._remap),
            ("switch", self._switch),
        ):
            count = getattr(step, name)
            if count is not None:
                yield from act(count)
                return
        yield from self._repeated(step)

    def _repeated(self, step: WorkloadStep) -> Steps:
        """What is the same thing over and over."""
        dialect = self._dialect
        for _ in range(step.cpuid or 0):
            yield from dialect.cpuid()
        for _ in range(step.port or 0):
            yield from dialect.port()
        for _ in range(step.msr or 0):
            yield from dialect.msr(OTHER_MSR)
        for _ in range(step.mask or 0):
            yield from dialect.mask(masked=True)
            yield from dialect.mask(masked=False)
        for _ in range(step.interrupt or 0):
            self._interrupt()
            yield Nop()
            yield Nop()
        for _ in range(step.idle or 0):
            yield from dialect.idle()

    def _read(self, count: int) -> Steps:
        for page in self._next_pages(count):
            data = yield Access(USER + page * PAGE_SIZE, _WORD, user=True)
            assert isinstance(data, bytes)
            self.sum = self.sum * 31 + int.from_bytes(data, "little") & 0xFFFF_FFFF

    def _write(self, count: int) -> Steps:
        for page in self._next_pages(count):
            value = (self.sum + page).to_bytes(_WORD, "little")
            yield Access(USER + page * PAGE_SIZE, 0, AccessKind.WRITE, value, user=True)

    def _fault(self, count: int) -> Steps:
        """Touch pages that are not there; the handler maps them; then take them away again."""
        count = min(count, self._workload.pages)
        for page in range(count):
            yield Access(DEMAND + page * PAGE_SIZE, 0, AccessKind.WRITE, bytes(_WORD), user=True)
        gone = [DEMAND + page * PAGE_SIZE for page in range(count)]
        yield from self._dialect.update([(self._layout.leaf(self._process, each), 0) for each in gone], gone)

    def _remap(self, count: int) -> Steps:
        pages = list(self._next_pages(count))
        process, layout = self._process, self._layout
        stale = [USER + page * PAGE_SIZE for page in pages]
        swapped = [pages[(number + 1) % len(pages)] for number in range(len(pages))]
        updates = [
            (layout.leaf(process, linear), layout.entry(process, page))
            for linear, page in zip(stale, swapped, strict=True)
        ]
        yield from self._dialect.update(updates, stale)

    def _switch(self, process: int) -> Steps:
        self._process = process % self._workload.processes
        yield from self._dialect.switch(self._layout.roots[self._process])

    def _next_pages(self, count: int) -> Iterator[int]:
        """The next pages of the process, round and round."""
        for number in range(min(count, self._workload.pages)):
            yield (self._cursor + number) % self._workload.pages
        self._cursor = (self._cursor + count) % self._workload.pages

    # -- handlers ---------------------------------------------------------------------------------------------

    def _on_page_fault(self) -> Running:
        self.faults += 1
        page = self._cr2() - DEMAND >> 12
        frame = self._layout.demand_frame(page) + self._layout.frame_base
        place = self._layout.leaf(self._process, DEMAND + page * PAGE_SIZE)
        yield from self._dialect.update([(place, frame | PAGE)], ())

    def _on_interrupt(self) -> Running:
        self.interrupts += 1
        yield from self._dialect.msr(END_OF_INTERRUPT)
        yield Nop()

"""A VM as the VMM keeps it: its memory, tables and processors, its ports and functions, and what it says of itself."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, final

from vafw.address import PAGE_SIZE_2M, Bdf, Gpa, Hpa
from vafw.errors import NoSuchObject
from vafw.trace import Value
from vafw.vmm.boot import BootInformation, FunctionInformation, LinkPortInformation
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.guest_memory import GuestMemory
from vafw.vmm.port import LinkPort
from vafw.vmm.refusal import VmmError
from vafw.vmm.vcpu import Vcpu

LOW_MEMORY_END: Final = 0xC000_0000
"""Guest RAM that does not fit below continues at 4 GiB, as on a PC."""
HIGH_MEMORY: Final = 0x1_0000_0000
FUNCTION_WINDOWS: Final = 0xFE00_0000
"""Guest-physical address of the first assigned function's BAR0; each takes 4 KiB."""
MINIMUM_MEMORY: Final = 32 << 20
MAXIMUM_LOG_LINES: Final = 10_000
"""Lines of a VM's log that are kept; the oldest go first."""


class Vector(IntEnum):
    """Interrupt vectors of a guest."""

    TIMER = 0x30
    REPORT = 0x31
    PROBE = 0x32
    DRAW = 0x33
    CONFIGURE = 0x34
    CLOCK = 0x35
    FIRST_PORT = 0x40
    FIRST_FUNCTION = 0x60
    END = 0x80


class VmState(StrEnum):
    """Where a VM stands for the VMM; whether it is healthy is its own affair."""

    CREATED = "created"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GuestHealth:
    """What a guest's own probe says."""

    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """RAM of a guest: host frames that are nobody else's."""

    gpa: Gpa
    hpa: Hpa
    size: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A PCI function that belongs to a VM."""

    bdf: Bdf
    information: FunctionInformation
    host_vector: int


def memory_layout(memory_bytes: int) -> tuple[tuple[Gpa, int], ...]:
    """Where a guest's RAM lies in its own physical address space; VmmError for a size no VM can have."""
    if memory_bytes < MINIMUM_MEMORY or memory_bytes % PAGE_SIZE_2M:
        raise VmmError(f"a VM's memory must be a multiple of 2 MiB from 32 MiB up, not {memory_bytes} bytes")
    low = min(memory_bytes, LOW_MEMORY_END)
    high = memory_bytes - low
    return ((Gpa(0), low), (Gpa(HIGH_MEMORY), high)) if high else ((Gpa(0), low),)


@final
class Vm:
    """One VM. `Vmm` is the only writer of its state."""

    def __init__(
        self, name: str, ranges: tuple[MemoryRange, ...], tables: EptTables, memory: GuestMemory, vcpus: list[Vcpu]
    ) -> None:
        self.name = name
        self.ranges = ranges
        self.tables = tables
        self.memory = memory
        self.vcpus = vcpus
        self.state = VmState.CREATED
        self.domain: int | None = None
        """The DMA domain of its functions; None while it has none."""
        self.ports: list[LinkPort] = []
        self.assignments: dict[Bdf, Assignment] = {}
        self.pending: dict[int, None] = {}
        """Vectors to deliver, in the order of arrival, each once."""
        self.deadline_ns: int | None = None
        """When the guest's timer is due."""
        self.exits: Counter[str] = Counter()
        self.log: deque[str] = deque(maxlen=MAXIMUM_LOG_LINES)
        self.health: GuestHealth | None = None
        self.configured: GuestHealth | None = None
        """Its answer to the last configuration; None until it has answered."""
        self.report: Mapping[str, Value] | None = None
        self.ended: str = ""
        """Why it stopped or failed."""

    @property
    def memory_bytes(self) -> int:
        """RAM in all."""
        return sum(each.size for each in self.ranges)

    @property
    def end_of_memory(self) -> Gpa:
        """The first guest-physical address after its RAM."""
        last = self.ranges[-1]
        return Gpa(last.gpa + last.size)

    def port(self, name: str) -> LinkPort:
        """The link port of that name; NoSuchObject where there is none."""
        for each in self.ports:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.ports) or "(none)"
        raise NoSuchObject(f"a link port of {self.name!r} must be one of {known}, not {name!r}")

    def interrupt(self, vector: int) -> None:
        """Make a vector pending; a halted processor becomes runnable. A VM that has ended hears nothing any more."""
        if self.state in (VmState.CREATED, VmState.RUNNING):
            self.pending[vector] = None

    @property
    def runnable(self) -> bool:
        """Whether entering it would get anywhere."""
        return self.state is VmState.RUNNING and (not self.vcpus[0].halted or bool(self.pending))

    def boot_information(self, config: Mapping[str, Value]) -> BootInformation:
        """The description that the guest's kernel finds."""
        return BootInformation(
            self.name,
            tuple((each.gpa, each.size) for each in self.ranges),
            tuple(LinkPortInformation(each.name, each.number, each.vector) for each in self.ports),
            tuple(each.information for each in self.assignments.values()),
            config,
        )

"""A remapping unit on a bench: tables and registers written by number, as the specification prints them."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.address import Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd import DmaFault, RemappingUnit, Translation, UnitCapability

UNIT = Hpa(0xFED9_0000)
ROOT, CONTEXT, TABLES, QUEUE, STATUS, IRT = 0x1000, 0x2000, 0x10_0000, 0x3000, 0x4000, 0x5000
PAGE = 0x80_0000
"""A frame of RAM that leaves point to."""
NIC, OTHER = Bdf(2, 0, 0), Bdf(3, 1, 2)

TE, SRTP, QIE, IRE, SIRTP, CFI = (1 << bit for bit in (31, 30, 26, 25, 24, 23))
GCMD, GSTS, RTADDR, CCMD, FSTS, FECTL, FEDATA, FEADDR = 0x18, 0x1C, 0x20, 0x28, 0x34, 0x38, 0x3C, 0x40
IQH, IQT, IQA, ICS, IECTL, IRTA, IVA, IOTLB, FRCD = 0x80, 0x88, 0x90, 0x9C, 0xA0, 0xB8, 0xF0, 0xF8, 0x220


@dataclass(frozen=True, slots=True)
class Record:
    """A fault record, field by field."""

    reason: int
    source: int
    address: int
    read: bool


class Bench:
    """Memory of 16 MiB, a unit, and tables of which only one path is filled."""

    def __init__(self, capability: UnitCapability | None = None) -> None:
        self.memory = PhysicalMemory(16 << 20)
        self.unit = RemappingUnit(self.memory, capability)
        self.memory.map_window(UNIT, 0x1000, self.unit)

    def set(self, address: int, value: int, size: int = 8) -> None:
        self.memory.write(Hpa(address), value.to_bytes(size, "little"))

    def register(self, offset: int, size: int = 4) -> int:
        return int.from_bytes(self.memory.read(Hpa(UNIT + offset), size), "little")

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.set(UNIT + offset, value, size)

    def command(self, *bits: int, off: int = 0) -> None:
        self.write(GCMD, (self.register(GSTS) & 0x96FF_FFFF & ~off) | sum(bits))

    def context(self, low: int, high: int, bdf: Bdf = NIC) -> None:
        """The context entry of a function, and the root entry above it."""
        self.set(ROOT + bdf.bus * 16, CONTEXT | 1)
        self.set(CONTEXT + bdf.devfn * 16, low)
        self.set(CONTEXT + bdf.devfn * 16 + 8, high)

    def attach(self, bdf: Bdf = NIC, *, domain: int = 5, levels: int = 4, flags: int = 0) -> None:
        """A context entry that passes every check, with the tables at TABLES."""
        self.context(TABLES | 1 | flags, domain << 8 | levels - 2, bdf)

    def path(self, iova: int, leaf: int, *, levels: int = 4, at: int = 1, middle: int = 3) -> None:
        """Entries with flags `middle` down to `leaf` at level `at`; the n-th table stands n pages above TABLES."""
        for level in range(levels, at - 1, -1):
            table = TABLES + (levels - level) * 0x1000
            entry = leaf if level == at else table + 0x1000 | middle
            self.set(table + (iova >> 3 + 9 * level) % 512 * 8, entry)

    def start(self) -> None:
        self.write(RTADDR, ROOT, 8)
        self.command(SRTP)
        self.command(TE)

    def forget(self) -> None:
        """Global invalidation by registers."""
        self.write(CCMD, 1 << 63 | 1 << 61, 8)
        self.write(IOTLB, 1 << 63 | 1 << 60, 8)

    def start_queue(self) -> None:
        self.write(IQT, 0, 8)
        self.write(IQA, QUEUE, 8)
        self.command(QIE)

    def submit(self, *descriptors: int) -> None:
        tail = self.register(IQT) >> 4
        for descriptor in descriptors:
            self.set(QUEUE + tail * 16, descriptor, 16)
            tail = (tail + 1) % 256
        self.write(IQT, tail << 4, 8)

    def ask(self, iova: int, *, write: bool = False, bdf: Bdf = NIC) -> int:
        """The host address, or minus the reason."""
        answer = self.unit.translate(bdf, Iova(iova), write=write)
        return answer.hpa if isinstance(answer, Translation) else -_reason(answer)

    def records(self) -> tuple[Record, ...]:
        count = (self.register(0x08, 8) >> 40 & 0xFF) + 1
        pairs = [(self.register(FRCD + n * 16, 8), self.register(FRCD + n * 16 + 8, 8)) for n in range(count)]
        return tuple(
            Record(high >> 32 & 0xFF, high & 0xFFFF, low, bool(high >> 62 & 1)) for low, high in pairs if high >> 63
        )

    def clear_record(self, number: int = 0) -> None:
        self.write(FRCD + number * 16 + 12, 1 << 31)


def _reason(fault: DmaFault) -> int:
    return fault.reason.value

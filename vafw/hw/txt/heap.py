"""The TXT heap: four tables that BIOS, loader, SINIT and MLE hand each other, and the event log between them.

TXT SDG, "TXT Heap Memory". Each table is {u64 size including itself, contents}, one after the other from
TXT.HEAP.BASE: BIOS data, OS-MLE data, OS-SINIT data, SINIT-MLE data. All numbers are little-endian. Only
values and bytes here; who may believe which field is `sinit`'s business.

The event log lies in the OS-MLE data, as tboot has it. The OS-SINIT data points to it by an extended element, whose
`next record offset` is the length of the log and moves with every record appended.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from vafw.address import Hpa
from vafw.errors import VafwError
from vafw.hw.memory import PhysicalMemory

BIOS_DATA_VERSION: Final = 6
OS_SINIT_VERSION: Final = 7
SINIT_MLE_VERSION: Final = 9
EXT_END: Final = 0
EXT_EVENT_LOG_2_1: Final = 8
EVENT_LOG_SIZE: Final = 0x8000

_SIZE = struct.Struct("<Q")
_BIOS = struct.Struct("<IIQQIQ")
_OS_SINIT = struct.Struct("<II9QIQ")
_SINIT_MLE = struct.Struct("<I20sIQ20s20s20s20sIIIIIIII")
_MDR = struct.Struct("<QQB7x")
_EXT = struct.Struct("<II")
_EVENT_LOG = struct.Struct("<QIII")
_END = _EXT.pack(EXT_END, _EXT.size)


class HeapError(VafwError):
    """A heap that cannot be read; the message says what must hold."""


@dataclass(frozen=True, slots=True)
class BiosData:
    """What the BIOS ACM leaves for the loader."""

    sinit_size: int
    """Size of a SINIT module that the BIOS brought along; 0 for none."""
    logical_processors: int
    flags: int = 0
    version: int = BIOS_DATA_VERSION

    def encode(self) -> bytes:
        """The table's contents; policy data of the BIOS are absent."""
        head = _BIOS.pack(self.version, self.sinit_size, 0, 0, self.logical_processors, self.flags)
        return head + _END

    @classmethod
    def decode(cls, data: bytes) -> BiosData:
        """Read the table's contents."""
        version, sinit_size, _, _, processors, flags = _unpack(_BIOS, data, "BIOS data")
        if version not in (5, BIOS_DATA_VERSION):
            raise HeapError(f"the BIOS data's version must be 5 or 6, not {version}")
        return cls(sinit_size, processors, flags, version)


@dataclass(frozen=True, slots=True)
class EventLogPointer:
    """Extended element 8: where the event log is."""

    address: int
    allocated: int
    """Bytes it may grow to."""
    first: int = 0
    """Offset of the first record."""
    next: int = 0
    """Offset of the first free byte."""

    def encode(self) -> bytes:
        """The element with its type and size."""
        body = _EVENT_LOG.pack(self.address, self.allocated, self.first, self.next)
        return _EXT.pack(EXT_EVENT_LOG_2_1, _EXT.size + len(body)) + body


@dataclass(frozen=True, slots=True)
class OsSinitData:
    """What the loader asks SINIT for; every address in it is a claim that SINIT checks."""

    mle_page_table: int
    mle_size: int
    """Bytes from linear address 0 that are measured."""
    mle_header: int
    """Linear address of the MLE header."""
    pmr_low_base: int
    pmr_low_size: int
    lcp_base: int
    """Owner's policy data file; 0 for none."""
    lcp_size: int
    capabilities: int
    """The MLE header's bits that SINIT is to use."""
    event_log: EventLogPointer
    pmr_high_base: int = 0
    pmr_high_size: int = 0
    rsdp: int = 0
    flags: int = 0
    version: int = OS_SINIT_VERSION

    def encode(self) -> bytes:
        """The table's contents."""
        head = _OS_SINIT.pack(
            self.version, self.flags, self.mle_page_table, self.mle_size, self.mle_header,
            self.pmr_low_base, self.pmr_low_size, self.pmr_high_base, self.pmr_high_size,
            self.lcp_base, self.lcp_size, self.capabilities, self.rsdp,
        )  # fmt: skip
        return head + self.event_log.encode() + _END

    @classmethod
    def decode(cls, data: bytes) -> OsSinitData:
        """Read the table's contents; HeapError says what must hold."""
        (version, flags, table, size, header, low, low_size, high, high_size, lcp, lcp_size, caps, rsdp) = _unpack(
            _OS_SINIT, data, "OS-SINIT data"
        )
        if version != OS_SINIT_VERSION:
            raise HeapError(f"the OS-SINIT data's version must be {OS_SINIT_VERSION}, not {version}")
        element = _element(data, EXT_EVENT_LOG_2_1)
        if element is None or len(element) != _EVENT_LOG.size:
            raise HeapError("the OS-SINIT data must point to an event log by an extended element of type 8")
        return cls(
            table, size, header, low, low_size, lcp, lcp_size, caps,
            EventLogPointer(*_EVENT_LOG.unpack(element)), high, high_size, rsdp, flags, version,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemoryDescriptor:
    """A memory descriptor record (MDR) of the SINIT-MLE data."""

    base: int
    length: int
    kind: int = 0
    """0 usable, 1 SMM overlay, 2 SMM, 3 PCIe configuration, 4 protected."""


@dataclass(frozen=True, slots=True)
class SinitMleData:
    """What SINIT leaves for the MLE."""

    bios_acm_id: bytes
    """20 bytes."""
    edx: int
    """EDX of GETSEC[SENTER]."""
    sinit_hash: bytes
    """SHA-1 PCR 17 after HASH_START, 20 bytes."""
    mle_hash: bytes
    """SHA-1, 20 bytes; the SHA-256 one stands in the event log."""
    policy_hash: bytes
    """20 bytes."""
    policy_control: int
    memory: tuple[MemoryDescriptor, ...] = field(default=())
    mseg_valid: int = 0
    version: int = SINIT_MLE_VERSION

    def encode(self) -> bytes:
        """The table's contents."""
        end_of_fields = _SIZE.size + _SINIT_MLE.size + len(_END)
        head = _SINIT_MLE.pack(
            self.version, self.bios_acm_id, self.edx, self.mseg_valid, self.sinit_hash, self.mle_hash,
            bytes(20), self.policy_hash, self.policy_control, 0, 0, len(self.memory), end_of_fields, 0, 0, 0,
        )  # fmt: skip
        return head + _END + b"".join(_MDR.pack(each.base, each.length, each.kind) for each in self.memory)

    @classmethod
    def decode(cls, data: bytes) -> SinitMleData:
        """Read the table's contents."""
        (version, acm_id, edx, mseg, sinit, mle, _, policy, control, _, _, count, at, _, _, _) = _unpack(
            _SINIT_MLE, data, "SINIT-MLE data"
        )
        records = data[at - _SIZE.size : at - _SIZE.size + count * _MDR.size]
        memory = tuple(MemoryDescriptor(*each) for each in _MDR.iter_unpack(records))
        return cls(acm_id, edx, sinit, mle, policy, control, memory, mseg, version)


@dataclass(frozen=True, slots=True)
class Heap:
    """The contents of the four tables, without their sizes."""

    bios: bytes
    os_mle: bytes = b""
    os_sinit: bytes = b""
    sinit_mle: bytes = b""

    def encode(self) -> bytes:
        """All four tables with their sizes."""
        tables = (self.bios, self.os_mle, self.os_sinit, self.sinit_mle)
        return b"".join(_SIZE.pack(_SIZE.size + len(each)) + each for each in tables)

    @property
    def event_log_at(self) -> int:
        """Offset of the event log from the start of the heap."""
        return 2 * _SIZE.size + len(self.bios)

    @property
    def event_log_pointer_at(self) -> int:
        """Offset of the pointer's `next record offset` from the start of the heap."""
        before = 3 * _SIZE.size + len(self.bios) + len(self.os_mle) + _OS_SINIT.size
        return before + _EXT.size + _EVENT_LOG.size - 4


def read(memory: PhysicalMemory, base: Hpa, size: int) -> Heap:
    """Read the four tables; HeapError where one does not lie in the heap."""
    tables = []
    at = 0
    for name in ("BIOS data", "OS-MLE data", "OS-SINIT data", "SINIT-MLE data"):
        length = memory.read_u64(Hpa(base + at)) if at + _SIZE.size <= size else 0
        if not _SIZE.size <= length <= size - at:
            raise HeapError(f"the heap's {name} must lie in its {size:#x} bytes, not at {at:#x} with size {length:#x}")
        tables.append(memory.read(Hpa(base + at + _SIZE.size), length - _SIZE.size))
        at += length
    return Heap(*tables)


def write(memory: PhysicalMemory, base: Hpa, size: int, heap: Heap) -> None:
    """Write the four tables; HeapError where they do not fit."""
    data = heap.encode()
    if len(data) > size:
        raise HeapError(f"the heap's tables must fit its {size:#x} bytes, not take {len(data):#x}")
    memory.write(base, data)


def read_event_log(memory: PhysicalMemory, base: Hpa, size: int) -> bytes:
    """The event log, header and all, as far as it is written."""
    pointer = OsSinitData.decode(read(memory, base, size).os_sinit).event_log
    return memory.read(Hpa(pointer.address + pointer.first), pointer.next - pointer.first)


def append_event_log(memory: PhysicalMemory, base: Hpa, size: int, records: bytes) -> None:
    """Append encoded records and move the pointer; HeapError where the log is full, with nothing written."""
    heap = read(memory, base, size)
    pointer = OsSinitData.decode(heap.os_sinit).event_log
    if pointer.next + len(records) > pointer.allocated:
        raise HeapError(f"the event log must fit its {pointer.allocated} bytes, not {pointer.next + len(records)}")
    memory.write(Hpa(pointer.address + pointer.next), records)
    memory.write_u32(Hpa(base + heap.event_log_pointer_at), pointer.next + len(records))


def _unpack(layout: struct.Struct, data: bytes, name: str) -> tuple[Any, ...]:
    if len(data) < layout.size:
        raise HeapError(f"the {name} must have at least {layout.size} bytes, not {len(data)}")
    return layout.unpack_from(data)


def _element(data: bytes, wanted: int) -> bytes | None:
    at = _OS_SINIT.size
    while at + _EXT.size <= len(data):
        kind, size = _EXT.unpack_from(data, at)
        if kind == EXT_END or size < _EXT.size or at + size > len(data):
            return None
        if kind == wanted:
            return data[at + _EXT.size : at + size]
        at += size
    return None

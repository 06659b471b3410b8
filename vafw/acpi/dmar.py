"""The DMA remapping table (DMAR): which remapping unit stands over which devices, and which memory firmware reserved.

Read and written byte for byte. VT-d Architecture Specification rev. 4.1, chapter "BIOS Considerations". A structure of
a type that is not known is kept as bytes: firmware is newer than any reader, and losing it would change the table.
The hard part is trust: the table comes from firmware, and what it leaves out is not protected. Nothing here decides
what to make of that; `DeviceScope.path` is left as written, since only a walk of the buses says which function it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import final

from vafw.acpi.table import TableHeader, decode_table, encode_table
from vafw.address import Hpa
from vafw.wire import Reader

SIGNATURE = "DMAR"
_RESERVED = bytes(10)
_HEAD = bytes(4)
"""In the place of a structure's type and length, so that errors count bytes from where it begins."""


class DmarFlags(IntFlag):
    """The table's flags."""

    INTERRUPT_REMAPPING = 1
    X2APIC_OPT_OUT = 2
    DMA_CONTROL_OPT_IN = 4


class ScopeType(IntEnum):
    """What a device scope names."""

    ENDPOINT = 1
    BRIDGE = 2
    """The bridge and everything below it."""
    IOAPIC = 3
    HPET = 4
    NAMESPACE_DEVICE = 5


class StructureType(IntEnum):
    """Remapping structures."""

    DRHD = 0
    RMRR = 1
    ATSR = 2
    RHSA = 3
    ANDD = 4


@final
@dataclass(frozen=True, slots=True)
class DeviceScope:
    """One device: where it stands, as device and function numbers from a start bus downwards."""

    kind: int
    """A `ScopeType`, or a number this reader does not know."""
    start_bus: int
    path: tuple[tuple[int, int], ...]
    """(device, function) of each bridge on the way, the device itself last."""
    enumeration_id: int = 0
    """The I/O APIC id, HPET number or ACPI device number."""


@final
@dataclass(frozen=True, slots=True)
class HardwareUnit:
    """DRHD: a remapping unit, its registers, and what it stands over."""

    base: Hpa
    """Where its registers begin, in bytes, 4 KiB aligned."""
    scopes: tuple[DeviceScope, ...] = ()
    include_all: bool = False
    """It stands over every device of the segment that no other unit names."""
    segment: int = 0
    size: int = 0
    """The register set has 2^size pages of 4 KiB."""


@final
@dataclass(frozen=True, slots=True)
class ReservedMemory:
    """RMRR: memory that firmware wants mapped one to one for devices, whatever the OS does."""

    base: Hpa
    limit: Hpa
    """The last byte, included."""
    scopes: tuple[DeviceScope, ...]
    segment: int = 0


@final
@dataclass(frozen=True, slots=True)
class AtsRootPorts:
    """ATSR: the root ports below which devices may use address translation services."""

    scopes: tuple[DeviceScope, ...] = ()
    all_ports: bool = False
    segment: int = 0


@final
@dataclass(frozen=True, slots=True)
class Proximity:
    """RHSA: the NUMA domain of a remapping unit."""

    base: Hpa
    domain: int


@final
@dataclass(frozen=True, slots=True)
class AndDevice:
    """ANDD: an ACPI device that issues DMA without a PCI address of its own."""

    number: int
    name: str
    """Its path in the ACPI namespace."""


@final
@dataclass(frozen=True, slots=True)
class Unknown:
    """A structure this reader does not know, kept as it was."""

    kind: int
    body: bytes


Structure = HardwareUnit | ReservedMemory | AtsRootPorts | Proximity | AndDevice | Unknown


MADE_HERE = TableHeader(revision=1)


@final
@dataclass(frozen=True, slots=True)
class Dmar:
    """The whole table."""

    host_address_width: int
    """Bits of a physical address that DMA can reach."""
    structures: tuple[Structure, ...]
    flags: DmarFlags = DmarFlags.INTERRUPT_REMAPPING
    header: TableHeader = MADE_HERE

    @property
    def units(self) -> tuple[HardwareUnit, ...]:
        """Its remapping units, in the table's order."""
        return tuple(each for each in self.structures if isinstance(each, HardwareUnit))

    @property
    def reserved_memory(self) -> tuple[ReservedMemory, ...]:
        """Its reserved regions, in the table's order."""
        return tuple(each for each in self.structures if isinstance(each, ReservedMemory))


def encode_dmar(table: Dmar) -> bytes:
    """The table as firmware would write it."""
    body = bytes((table.host_address_width - 1, table.flags)) + _RESERVED
    return encode_table(SIGNATURE, table.header, body + b"".join(_encode(each) for each in table.structures))


def decode_dmar(data: bytes) -> Dmar:
    """Read a table; FormatError names the structure and the byte at fault."""
    header, body = decode_table(SIGNATURE, data)
    reader = Reader(body, SIGNATURE, "little")
    width = reader.u8("the host address width") + 1
    flags = DmarFlags(reader.u8("the flags"))
    if any(reader.take(len(_RESERVED), "the reserved bytes")):
        raise reader.error("the reserved bytes must be zero", at=2)
    return Dmar(width, tuple(_structures(reader)), flags, header)


def _structures(reader: Reader) -> Iterator[Structure]:
    while reader.remaining:
        start = reader.offset
        kind, length = reader.u16("a structure's type"), reader.u16("a structure's length")
        if length < 4:
            raise reader.error(f"a structure must have at least 4 bytes, not {length}", at=start + 2)
        body = reader.take(length - 4, f"structure type {kind}")
        yield (
            _DECODERS[kind](Reader(_HEAD + body, _NAMES[kind], "little", 4))
            if kind in _DECODERS
            else Unknown(kind, body)
        )


def _encode(structure: Structure) -> bytes:
    match structure:
        case HardwareUnit():
            flags = bytes((structure.include_all, structure.size))
            body = flags + _u(structure.segment, 2) + _u(structure.base, 8) + _scopes(structure.scopes)
            return _framed(StructureType.DRHD, body)
        case ReservedMemory():
            place = bytes(2) + _u(structure.segment, 2) + _u(structure.base, 8) + _u(structure.limit, 8)
            return _framed(StructureType.RMRR, place + _scopes(structure.scopes))
        case AtsRootPorts():
            ports = bytes((structure.all_ports, 0)) + _u(structure.segment, 2)
            return _framed(StructureType.ATSR, ports + _scopes(structure.scopes))
        case Proximity():
            return _framed(StructureType.RHSA, bytes(4) + _u(structure.base, 8) + _u(structure.domain, 4))
        case AndDevice():
            name = structure.name.encode("latin-1") + b"\0"
            return _framed(StructureType.ANDD, bytes(3) + bytes((structure.number,)) + name)
        case Unknown():
            return _framed(structure.kind, structure.body)


def _framed(kind: int, body: bytes) -> bytes:
    return _u(kind, 2) + _u(4 + len(body), 2) + body


def _scopes(scopes: tuple[DeviceScope, ...]) -> bytes:
    return b"".join(
        bytes((each.kind, 6 + 2 * len(each.path), 0, 0, each.enumeration_id, each.start_bus))
        + b"".join(bytes(step) for step in each.path)
        for each in scopes
    )


def _decode_unit(reader: Reader) -> HardwareUnit:
    flags, size = _flag(reader, "INCLUDE_PCI_ALL"), reader.u8("the size")
    if size > 0xF:
        raise reader.error(f"the size must be 0 to 15, not {size}", at=5)
    segment, base = reader.u16("the segment"), reader.u64("the base")
    if base % 4096:
        raise reader.error(f"the base must be 4 KiB aligned, not {base:#x}", at=8)
    return HardwareUnit(Hpa(base), _read_scopes(reader), flags, segment, size)


def _decode_reserved(reader: Reader) -> ReservedMemory:
    _zero(reader, 2)
    segment = reader.u16("the segment")
    base, limit = reader.u64("the base"), reader.u64("the limit")
    if base % 4096 or (limit + 1) % 4096 or limit < base:
        raise reader.error(f"the region must be whole pages in order, not {base:#x} to {limit:#x}", at=8)
    return ReservedMemory(Hpa(base), Hpa(limit), _read_scopes(reader), segment)


def _decode_ats(reader: Reader) -> AtsRootPorts:
    all_ports = _flag(reader, "ALL_PORTS")
    _zero(reader, 1)
    segment = reader.u16("the segment")
    return AtsRootPorts(_read_scopes(reader), all_ports, segment)


def _decode_proximity(reader: Reader) -> Proximity:
    _zero(reader, 4)
    found = Proximity(Hpa(reader.u64("the base")), reader.u32("the proximity domain"))
    reader.finish()
    return found


def _decode_device(reader: Reader) -> AndDevice:
    _zero(reader, 3)
    number = reader.u8("the ACPI device number")
    name, end, rest = reader.take(reader.remaining, "the object name").partition(b"\0")
    if not end or rest:
        raise reader.error("the object name must end with its only zero byte", at=8)
    return AndDevice(number, name.decode("latin-1"))


def _read_scopes(reader: Reader) -> tuple[DeviceScope, ...]:
    scopes = []
    while reader.remaining:
        start = reader.offset
        kind, length = reader.u8("a device scope's type"), reader.u8("a device scope's length")
        if length < 8 or length % 2:
            raise reader.error(f"a device scope must have 6 bytes and 2 for each step, not {length}", at=start + 1)
        _zero(reader, 2)
        number, bus = reader.u8("the enumeration id"), reader.u8("the start bus")
        path = reader.take(length - 6, "the path")
        steps = tuple(zip(path[::2], path[1::2], strict=True))
        if any(device > 0x1F or function > 7 for device, function in steps):
            raise reader.error("a path must have devices 0 to 31 and functions 0 to 7", at=start + 6)
        scopes.append(DeviceScope(ScopeType(kind) if kind in _SCOPE_TYPES else kind, bus, steps, number))
    return tuple(scopes)


def _flag(reader: Reader, name: str) -> bool:
    value = reader.u8("the flags")
    if value > 1:
        raise reader.error(f"flags other than {name} must be zero, not {value:#04x}", at=reader.offset - 1)
    return bool(value)


def _zero(reader: Reader, length: int) -> None:
    if any(reader.take(length, "the reserved bytes")):
        raise reader.error("the reserved bytes must be zero", at=reader.offset - length)


def _u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


_DECODERS: dict[int, Callable[[Reader], Structure]] = {
    StructureType.DRHD: _decode_unit,
    StructureType.RMRR: _decode_reserved,
    StructureType.ATSR: _decode_ats,
    StructureType.RHSA: _decode_proximity,
    StructureType.ANDD: _decode_device,
}
_SCOPE_TYPES = frozenset(ScopeType)
_NAMES = {kind.value: f"DMAR {kind.name}" for kind in StructureType}

"""The extended page tables' walk: a guest-physical address through four levels of tables in memory.

Three outcomes that the manual keeps apart and so does this module: a translation; an EPT violation, where every entry
is well formed and the access is not allowed; an EPT misconfiguration, where an entry that is present cannot mean
anything. An entry without R, W and X is not present, whatever else is set in it, and gives a violation.

Not a cache: the walk reads memory every time. What may be remembered, and until when, is `translation`'s business.
The hard part is the order of checks. Each entry is judged before the next level is read: not present first, then
misconfigured; permissions are ANDed over all levels and asked for only at the end.
(SDM volume 3, "The Extended Page Table Mechanism (EPT)": "EPT Misconfigurations", "EPT Violations".)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from vafw.address import Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import EptEntry, Eptp, EptViolation, MemoryType

LEVELS: Final = 4
GPA_BITS: Final = 48
"""Bits of a guest-physical address that a 4-level walk translates."""

_R, _W, _X = EptEntry.R.mask, EptEntry.W.mask, EptEntry.X.mask
_RWX: Final = _R | _W | _X
_PS: Final = EptEntry.PS.mask
_ADDRESS: Final = EptEntry.ADDRESS.mask
_SHIFT: Final = (0, 12, 21, 30, 39)
_NON_LEAF_RESERVED: Final = (0, 0, 0x78, 0x78, 0xF8)
"""Bits that must be 0 in an entry that references a table, by level: 6:3, and 7 too at level 4."""
_LEAF_RESERVED: Final = (0, 0, 0x1FF000, 0x3FFFF000)
"""Address bits that must be 0 in a leaf, by level: 20:12 of a 2 MiB page, 29:12 of a 1 GiB page."""
_TRANSLATED: Final = EptViolation.LINEAR_VALID.mask | EptViolation.FINAL.mask
"""What a violation says of an access to the translation of a linear address."""
_RESERVED_TYPES: Final = frozenset({2, 3, 7})


class AccessKind(Enum):
    """What an access does; the value is its bit, both of an entry's right and of an exit qualification."""

    READ = 1
    WRITE = 2
    FETCH = 4


@dataclass(frozen=True, slots=True)
class EptCapability:
    """What this processor's EPT can do (IA32_VMX_EPT_VPID_CAP) and how wide its addresses are."""

    execute_only: bool = True
    physical_bits: int = 39
    """MAXPHYADDR."""


@dataclass(frozen=True, slots=True)
class Translation:
    """Where a guest-physical address lies, and what may be done in its whole page."""

    hpa: Hpa
    """The translated address itself, offset included."""
    page_bytes: int
    """4 KiB, 2 MiB or 1 GiB."""
    rights: int
    """R, W and X as bits 0 to 2, ANDed over the levels."""
    memory_type: MemoryType


@dataclass(frozen=True, slots=True)
class Violation:
    """A well-formed walk that does not allow the access: basic exit reason 48."""

    gpa: Gpa
    qualification: int

    def __str__(self) -> str:
        return f"EPT violation at GPA {self.gpa:#x}: {EptViolation.describe(self.qualification)}"


@dataclass(frozen=True, slots=True)
class Misconfiguration:
    """A present entry that cannot mean anything: basic exit reason 49."""

    gpa: Gpa
    level: int
    entry: int

    def __str__(self) -> str:
        return f"EPT misconfiguration at GPA {self.gpa:#x}, level {self.level}: {EptEntry.describe(self.entry)}"


def walk(
    memory: PhysicalMemory, eptp: int, gpa: Gpa, access: AccessKind, capability: EptCapability
) -> Translation | Violation | Misconfiguration:
    """Translate `gpa` for one access; sets accessed and dirty bits where the EPTP enables them."""
    return _walk(memory, eptp, _Request(gpa, access.value, _TRANSLATED), capability)


def walk_structure(
    memory: PhysicalMemory, eptp: int, gpa: Gpa, write: bool, capability: EptCapability
) -> Translation | Violation | Misconfiguration:
    """Translate `gpa` for an access to a guest paging-structure entry; a write is a read too, and says both."""
    wanted = 3 if write else 1
    return _walk(memory, eptp, _Request(gpa, wanted, EptViolation.LINEAR_VALID.mask), capability)


class _Request(NamedTuple):
    """One access: the rights it needs, and what its violation says beside the rights that there are."""

    gpa: Gpa
    wanted: int
    flags: int


def _walk(
    memory: PhysicalMemory, eptp: int, request: _Request, capability: EptCapability
) -> Translation | Violation | Misconfiguration:
    gpa, wanted, _ = request
    if gpa >> GPA_BITS:
        return _violation(request, 0)
    rights = _RWX
    table = eptp & _ADDRESS
    used: list[tuple[int, int]] = []
    for level in (4, 3, 2, 1):
        place = table + (gpa >> _SHIFT[level] & 0x1FF) * 8
        entry = _entry(memory, place)
        if not entry & _RWX:
            return _violation(request, 0)
        leaf = level == 1 or (level < LEVELS and bool(entry & _PS))
        if _misconfigured(entry, level, leaf, capability):
            return Misconfiguration(gpa, level, entry)
        rights &= entry
        used.append((place, entry))
        if leaf:
            break
        table = entry & _ADDRESS
    if rights & wanted != wanted:
        return _violation(request, rights)
    if eptp & Eptp.ACCESSED_DIRTY.mask:
        _mark(memory, used, dirty=bool(wanted & AccessKind.WRITE.value))
    size = 1 << _SHIFT[level]
    hpa = entry & _ADDRESS & -size | gpa & (size - 1)
    return Translation(Hpa(hpa), size, rights, MemoryType(EptEntry.MEMORY_TYPE.get(entry)))


def eptp_is_valid(eptp: int, capability: EptCapability) -> bool:
    """Whether a VM entry accepts the EPT pointer (SDM, "VM-Execution Control Fields" checks)."""
    return (
        Eptp.MEMORY_TYPE.get(eptp) in (MemoryType.UC, MemoryType.WB)
        and Eptp.WALK_LENGTH.get(eptp) == LEVELS - 1
        and not Eptp.RESERVED.get(eptp)
        and not eptp >> capability.physical_bits
    )


def _entry(memory: PhysicalMemory, place: int) -> int:
    """The entry; where nothing answers, a read returns all ones, which is a misconfiguration."""
    found = memory.read_ram_u64(place)
    return 0xFFFF_FFFF_FFFF_FFFF if found is None else found


def well_formed_masks(level: int, *, leaf: bool, capability: EptCapability) -> int:
    """Bits that must be 0 in a present entry of a level: reserved ones, and addresses beyond the physical width."""
    reserved = _LEAF_RESERVED[level] if leaf and level < LEVELS else _NON_LEAF_RESERVED[level]
    return reserved | _ADDRESS & -(1 << capability.physical_bits)


def _misconfigured(entry: int, level: int, leaf: bool, capability: EptCapability) -> bool:
    rights = entry & _RWX
    if rights in (_W, _W | _X) or (rights == _X and not capability.execute_only):
        return True
    if entry & well_formed_masks(level, leaf=leaf, capability=capability):
        return True
    return leaf and EptEntry.MEMORY_TYPE.get(entry) in _RESERVED_TYPES


def _mark(memory: PhysicalMemory, used: list[tuple[int, int]], *, dirty: bool) -> None:
    """Set A in every entry the walk used, and D in the leaf of a write; write only what changes."""
    last = len(used) - 1
    for number, (place, entry) in enumerate(used):
        marked = entry | EptEntry.A.mask | (EptEntry.D.mask if dirty and number == last else 0)
        if marked != entry:
            memory.write_ram_u64(place, marked)


def _violation(request: _Request, rights: int) -> Violation:
    """With the rights that all levels grant."""
    said = request.wanted | request.flags
    return Violation(request.gpa, said | (rights & _RWX) << EptViolation.READABLE.lsb)

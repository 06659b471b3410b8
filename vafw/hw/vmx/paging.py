"""Linear to host-physical: a guest's own four levels of tables, each of whose accesses is itself guest-physical.

Four outcomes: a host-physical address; a fault of the guest (#PF with its error code, or #GP for an address that is not
canonical); an EPT violation; an EPT misconfiguration. A walk that succeeds goes into the TLB, tagged by VPID, PCID and
EP4TA, at the smaller of the two page sizes; a permission that a remembered entry does not show is walked for again, so
that adding rights to a guest's entry needs no INVLPG and taking them away does.

Not here: PAE and 32-bit paging, five levels, protection keys; a guest that pages does it with CR0.PG, CR4.PAE and
EFER.LME set. The hard part is that a walk of four levels is up to 24 reads, since each of the guest's four entries and
the final address go through EPT's four: `count.references` says how many it really was.
(SDM volume 3, "4-Level Paging", "Access Rights", "Page-Fault Exceptions", "Accessed and Dirty Flags".)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, final

from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    CR0_WP,
    CR4_PCIDE,
    CR4_PGE,
    CR4_SMAP,
    CR4_SMEP,
    EFER_LMA,
    EFER_LME,
    EFER_NXE,
    GENERAL_PROTECTION,
    PAGE_FAULT,
    EntryControl,
    GuestPagingEntry,
    PageFaultCode,
    VmcsField,
)
from vafw.hw.vmx.entry_host import is_canonical
from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Violation
from vafw.hw.vmx.guest_physical import GuestPhysical
from vafw.hw.vmx.tlb import (
    GLOBAL,
    IS_GLOBAL,
    NO_EXECUTE,
    PROVEN_FETCH,
    PROVEN_WRITE,
    SHIFT_LSB,
    USER,
    WRITABLE,
    LinearMappings,
    Tag,
    Tlb,
)

_P, _RW, _US = GuestPagingEntry.P.mask, GuestPagingEntry.RW.mask, GuestPagingEntry.US.mask
_A, _D, _PS, _G = GuestPagingEntry.A.mask, GuestPagingEntry.D.mask, GuestPagingEntry.PS.mask, GuestPagingEntry.G.mask
_XD: Final = GuestPagingEntry.XD.mask
_ADDRESS: Final = GuestPagingEntry.ADDRESS.mask
_SHIFT: Final = (0, 12, 21, 30, 39)
_LARGE_RESERVED: Final = (0, 0, 0x1F_E000, 0x3FFF_E000)
"""Address bits that must be 0 in a leaf, by level; bit 12 is the page's PAT bit."""
_ALL_ONES: Final = 0xFFFF_FFFF_FFFF_FFFF
_LOAD_EFER: Final = int(EntryControl.LOAD_EFER)
_IA32E_GUEST: Final = int(EntryControl.IA32E_GUEST)


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception that an instruction of the guest raises."""

    vector: int
    error_code: int | None = None
    linear: int | None = None
    """What CR2 will be, of a #PF."""


Outcome: TypeAlias = int | Fault | Violation | Misconfiguration


@dataclass(slots=True)
class _Step:
    """One entry that a walk has used."""

    gpa: int
    hpa: int
    entry: int


@final
class Paging:
    """The first stage of one guest's translations, over its second."""

    def __init__(self, memory: PhysicalMemory, capability: EptCapability, second: GuestPhysical) -> None:
        """The processor binds it at each VM entry of a guest that pages."""
        self.efer = 0
        self._memory = memory
        self._second = second
        self._fields: dict[int, int] = {}
        self._beyond = _ADDRESS & -(1 << capability.physical_bits)
        self._tlb = Tlb()
        self._vpid = 0
        self._ep4ta = 0
        self._own = LinearMappings()
        self._global = LinearMappings()

    def bind(self, fields: dict[int, int], tlb: Tlb, vpid: int, ep4ta: int) -> None:
        """VM entry: this VMCS, whose control registers are live, the processor's TLB, and what to tag entries with."""
        self._fields = fields
        self._tlb = tlb
        self._vpid = vpid
        self._ep4ta = ep4ta
        self.retag()

    @property
    def pcid(self) -> int:
        """The current process-context identifier; 0 where CR4.PCIDE is."""
        return self._fields[VmcsField.GUEST_CR3] & 0xFFF if self._fields[VmcsField.GUEST_CR4] & CR4_PCIDE else 0

    def translate(self, linear: int, kind: AccessKind, *, user: bool = False) -> Outcome:
        """Where one access of one page leads."""
        entry = self._own.find(linear)
        if entry is None:
            entry = self._global.find(linear)
        if entry is not None and self._allowed(entry, kind, user):
            self._second.count.tlb_hits += 1
            return entry & _ADDRESS | linear & (1 << (entry >> SHIFT_LSB & 0x3F)) - 1
        self._second.count.tlb_misses += 1
        outcome = self._walk(linear, kind, user)
        if isinstance(outcome, Violation):
            self._tlb.drop(linear, self._vpid, self.pcid)
        return outcome

    def load_efer(self, fields: dict[int, int]) -> None:
        """VM entry: from the guest-state area, or LMA and LME from the entry controls."""
        controls = fields[VmcsField.ENTRY_CONTROLS]
        if controls & _LOAD_EFER:
            self.efer = fields[VmcsField.GUEST_EFER]
        else:
            self.efer = self.efer & ~EFER_LMA | (EFER_LMA | EFER_LME if controls & _IA32E_GUEST else 0)

    # -- what software does to it -----------------------------------------------------------------------------

    def retag(self) -> None:
        """CR3 or CR4.PCIDE has another value."""
        self._own = self._tlb.tagged(Tag(self._vpid, self.pcid, self._ep4ta))
        self._global = self._tlb.tagged(Tag(self._vpid, GLOBAL, self._ep4ta))

    def load_cr3(self, value: int) -> None:
        """MOV to CR3: another address space, whose PCID is forgotten first unless bit 63 asks to keep it."""
        keeps = value >> 63 and self._fields[VmcsField.GUEST_CR4] & CR4_PCIDE
        self._fields[VmcsField.GUEST_CR3] = value & ~(1 << 63)
        if not keeps:
            self._tlb.flush(self._vpid, self.pcid)
        self.retag()

    def invlpg(self, linear: int) -> None:
        """Forget one address, in the current PCID and among global pages."""
        self._tlb.drop(linear, self._vpid, self.pcid)

    # -- the walk ---------------------------------------------------------------------------------------------

    def _walk(self, linear: int, kind: AccessKind, user: bool) -> Outcome:
        if not is_canonical(linear):
            return Fault(GENERAL_PROTECTION, 0)
        table = self._fields[VmcsField.GUEST_CR3] & _ADDRESS
        rights, used = _RW | _US, list[_Step]()
        level = 4
        while True:
            step = self._read(table + (linear >> _SHIFT[level] & 0x1FF) * 8)
            if not isinstance(step, _Step):
                return step
            entry = step.entry
            if not entry & _P:
                return self._page_fault(linear, kind, user, PageFaultCode(0))
            leaf = level == 1 or (level < 4 and bool(entry & _PS))
            if self._reserved(entry, level, leaf):
                return self._page_fault(linear, kind, user, PageFaultCode.P | PageFaultCode.RSVD)
            rights = rights & entry | (rights | entry) & _XD
            used.append(step)
            if leaf:
                break
            table = entry & _ADDRESS
            level -= 1
        flags = rights >> 1 & 3 | (NO_EXECUTE if rights & _XD and self.efer & EFER_NXE else 0)
        if not self._permits(flags, kind, user):
            return self._page_fault(linear, kind, user, PageFaultCode.P)
        return self._finish(linear, kind, used, level, flags)

    def _finish(self, linear: int, kind: AccessKind, used: list[_Step], level: int, flags: int) -> Outcome:
        """The final address through the second stage, accessed and dirty flags, and the TLB."""
        entry, shift = used[-1].entry, _SHIFT[level]
        gpa = entry & _ADDRESS & -(1 << shift) | linear & (1 << shift) - 1
        delta = self._second.delta(gpa, kind)
        if not isinstance(delta, int):
            return delta
        marked = self._mark(used, dirty=kind is AccessKind.WRITE)
        if marked is not None:
            return marked
        shift = 21 if shift > 12 and self._second.is_large(gpa) else 12
        hpa = gpa + delta
        packed = hpa >> shift << shift | flags | shift << SHIFT_LSB
        packed |= PROVEN_WRITE if kind is AccessKind.WRITE else PROVEN_FETCH if kind is AccessKind.FETCH else 0
        shared = bool(entry & _G and self._fields[VmcsField.GUEST_CR4] & CR4_PGE)
        self._remember(linear, packed | (IS_GLOBAL if shared else 0), self._global if shared else self._own)
        return hpa

    def _remember(self, linear: int, packed: int, into: LinearMappings) -> None:
        """Keep it, with what earlier walks of the same page have proven."""
        proven = PROVEN_WRITE | PROVEN_FETCH
        before = into.find(linear)
        if before is not None and before & ~proven == packed & ~proven:
            packed |= before & proven
        self._tlb.insert(into, linear, packed)

    def _read(self, gpa: int) -> _Step | Violation | Misconfiguration:
        """One entry of the guest's tables."""
        delta = self._second.structure(gpa, write=False)
        if not isinstance(delta, int):
            return delta
        self._second.count.references += 1
        self._second.count.uncached += 1
        entry = self._memory.read_ram_u64(gpa + delta)
        return _Step(gpa, gpa + delta, _ALL_ONES if entry is None else entry)

    def _reserved(self, entry: int, level: int, leaf: bool) -> bool:
        """Whether a bit is set that must not be."""
        if entry & self._beyond or (entry & _XD and not self.efer & EFER_NXE):
            return True
        if leaf:
            return bool(entry & _LARGE_RESERVED[level]) if level > 1 else False
        return level == 4 and bool(entry & _PS)

    def _mark(self, used: list[_Step], *, dirty: bool) -> Violation | Misconfiguration | None:
        """Set A in every entry and D in the leaf of a write, through EPT, where they are not set yet."""
        for step in used:
            marked = step.entry | _A | (_D if dirty and step is used[-1] else 0)
            if marked == step.entry:
                continue
            delta = self._second.structure(step.gpa, write=True)
            if not isinstance(delta, int):
                return delta
            self._memory.write_ram_u64(step.gpa + delta, marked)
        return None

    # -- rights -----------------------------------------------------------------------------------------------

    def _permits(self, flags: int, kind: AccessKind, user: bool) -> bool:
        """Whether the guest's tables allow the access."""
        cr4 = self._fields[VmcsField.GUEST_CR4]
        if kind is AccessKind.FETCH:
            foreign = flags & USER and cr4 & CR4_SMEP and not user
            return not flags & NO_EXECUTE and not foreign and (bool(flags & USER) or not user)
        if user and not flags & USER:
            return False
        if not user and flags & USER and cr4 & CR4_SMAP:
            return False
        if kind is AccessKind.READ:
            return True
        return bool(flags & WRITABLE) or (not user and not self._fields[VmcsField.GUEST_CR0] & CR0_WP)

    def _allowed(self, entry: int, kind: AccessKind, user: bool) -> bool:
        """Whether a remembered entry shows that the access is allowed."""
        if kind is AccessKind.WRITE and not entry & PROVEN_WRITE:
            return False
        if kind is AccessKind.FETCH and not entry & PROVEN_FETCH:
            return False
        return self._permits(entry, kind, user)

    def _page_fault(self, linear: int, kind: AccessKind, user: bool, why: PageFaultCode) -> Fault:
        """#PF; it also drops what is remembered of the address."""
        self._tlb.drop(linear, self._vpid, self.pcid)
        code = why | (PageFaultCode.W if kind is AccessKind.WRITE else 0) | (PageFaultCode.U if user else 0)
        told = self.efer & EFER_NXE or self._fields[VmcsField.GUEST_CR4] & CR4_SMEP
        if kind is AccessKind.FETCH and told:
            code |= PageFaultCode.I
        return Fault(PAGE_FAULT, int(code), linear)

"""A guest's own four levels over EPT: rights, faults with their codes, flags, and violations in the guest's tables."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vmx.naive import naive_paging
from tests.hw.vmx.paged import CR3, PagedGuest
from tests.hw.vmx.rig import LEVEL2, RAM
from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import Access, AccessKind, GuestCpu, GuestProgram, Hlt, Running, VmExit
from vafw.hw.vmx.bits import ExitReason, VmcsField
from vafw.hw.vmx.ept import EptCapability
from vafw.hw.vmx.guest import GuestCpu as Cpu
from vafw.hw.vmx.operation import MoveToCr, Nop
from vafw.hw.vmx.paging import Fault
from vafw.hw.vmx.tlb import Tlb

PAGE = 0x20_0000_0000
READ, WRITE, FETCH = AccessKind


def touches(kind: AccessKind = READ, *, user: bool = False, address: int = PAGE) -> GuestProgram:
    def program(cpu: GuestCpu) -> Running:
        yield Access(address, 8, kind, b"12345678" if kind is WRITE else b"", user)
        yield Hlt()

    return program


def launched(guest: PagedGuest) -> VmExit:
    left = guest.processor.vmlaunch()
    assert isinstance(left, VmExit)
    return left


ALL_FAULTS = {"EXCEPTION_BITMAP": 1 << 14, "PAGE_FAULT_MASK": 0, "PAGE_FAULT_MATCH": 0}


@pytest.mark.parametrize(
    ("flags", "kind", "user", "code"),
    [
        (0, READ, False, 0),
        (0, WRITE, True, 6),
        (0, FETCH, False, 16),
        (1, WRITE, False, 3),
        (1, READ, True, 5),
        (3, WRITE, True, 7),
        (5, WRITE, True, 7),
        (1 << 63 | 7, FETCH, True, 21),
        (7 | 1 << 45, READ, False, 9),
    ],
)
def test_a_refused_access_exits_as_page_fault_with_its_error_code_and_address(
    flags: int, kind: AccessKind, user: bool, code: int
) -> None:
    guest = PagedGuest(touches(kind, user=user), **ALL_FAULTS)
    guest.map(PAGE, 0x5000, flags)
    left = launched(guest)
    assert (left.reason, left.qualification, left.error_code) == (ExitReason.EXCEPTION_OR_NMI, PAGE, code)
    assert (guest.field("EXIT_INTERRUPTION"), guest.field("EXIT_ERROR_CODE")) == (0x8000_0B0E, code)


@pytest.mark.parametrize(
    ("flags", "kind", "user"),
    [(1, READ, False), (3, WRITE, False), (5, READ, True), (7, WRITE, True), (5, FETCH, True)],
)
def test_an_allowed_access_goes_through(flags: int, kind: AccessKind, user: bool) -> None:
    guest = PagedGuest(touches(kind, user=user), **ALL_FAULTS)
    guest.map(PAGE, 0x5000, flags)
    assert launched(guest).reason is ExitReason.HLT


@pytest.mark.parametrize(("cr4", "kind"), [(0x10_20A0, FETCH), (0x20_20A0, READ)])
def test_smep_and_smap_keep_a_supervisor_off_user_pages(cr4: int, kind: AccessKind) -> None:
    guest = PagedGuest(touches(kind), GUEST_CR4=cr4, **ALL_FAULTS)
    guest.map(PAGE, 0x5000, 7)
    assert launched(guest).reason is ExitReason.EXCEPTION_OR_NMI


def test_without_write_protection_a_supervisor_writes_read_only_pages() -> None:
    guest = PagedGuest(touches(WRITE), GUEST_CR0=0x8000_0021, **ALL_FAULTS)
    guest.map(PAGE, 0x5000, 1)
    assert launched(guest).reason is ExitReason.HLT
    assert guest.memory.read(Hpa(RAM + 0x5000), 8) == b"12345678"


def test_large_pages_translate_and_their_reserved_bits_fault() -> None:
    guest = PagedGuest(touches(WRITE, address=PAGE + 0x1_2345), **ALL_FAULTS)
    leaf = guest.map(PAGE, 0, 7, level=2)
    assert launched(guest).reason is ExitReason.HLT
    assert guest.memory.read(Hpa(RAM + 0x1_2345), 8) == b"12345678"
    bad = PagedGuest(touches(), **ALL_FAULTS)
    bad.map(PAGE, 0x2000, 7, level=2)
    assert (launched(bad).error_code, guest.peek(leaf) & 0x60) == (9, 0x60)


def test_an_address_that_is_not_canonical_is_a_general_protection_fault() -> None:
    guest = PagedGuest(touches(address=1 << 47), EXCEPTION_BITMAP=1 << 13)
    assert launched(guest).interruption == 0x8000_0B0D


def test_a_read_sets_accessed_and_a_write_dirty_in_the_leaf() -> None:
    flags = {}
    for kind in (READ, WRITE):
        guest = PagedGuest(touches(kind))
        leaf = guest.map(PAGE, 0x5000)
        launched(guest)
        flags[kind] = guest.peek(leaf) & 0x60, guest.peek(CR3 + (PAGE >> 39) * 8) & 0x60
    assert flags == {READ: (0x20, 0x20), WRITE: (0x60, 0x20)}


def ept_pages(guest: PagedGuest, leaf_rights: dict[int, int]) -> None:
    """Replace the first EPT page of 2 MiB by 4 KiB pages, some with other rights."""
    table = 0x1_8000
    for index in range(512):
        rights = leaf_rights.get(index << 12, 7)
        guest.memory.write_u64(Hpa(table + index * 8), RAM + (index << 12) | rights | 0x30)
    guest.memory.write_u64(Hpa(LEVEL2), table | 7)


@pytest.mark.parametrize(
    ("accessed_dirty", "rights", "set_already", "qualification"),
    [
        (False, 0, True, 0x81),
        (True, 0, True, 0x83),
        (True, 1, True, 0x83 | 1 << 3),
        (False, 1, False, 0x83 | 1 << 3),
        (False, 4, True, 0x81 | 4 << 3),
    ],
)
def test_a_breach_in_the_guests_own_tables_says_so(
    accessed_dirty: bool, rights: int, set_already: bool, qualification: int
) -> None:
    guest = PagedGuest(touches(), EPTP=0x1_0000 | (0x5E if accessed_dirty else 0x1E))
    leaf = guest.map(PAGE, 0x5000, 7 | 0x60)
    place = leaf & ~0xFFF
    for level in (4, 3, 2):
        entry = CR3 + (PAGE >> 39) * 8 if level == 4 else 0
        guest.poke(entry, guest.peek(entry) | 0x20) if entry else None
    if not set_already:
        guest.poke(leaf, 0x5000 | 7)
    ept_pages(guest, {place: rights})
    left = launched(guest)
    assert (left.reason, left.qualification, left.linear) == (ExitReason.EPT_VIOLATION, qualification, PAGE)
    assert left.gpa is not None
    assert (left.gpa & ~0xFFF, guest.field("GUEST_LINEAR_ADDRESS")) == (place, PAGE)


def test_without_flags_to_set_read_only_tables_are_enough() -> None:
    guest = PagedGuest(touches())
    leaf = guest.map(PAGE, 0x5000, 7 | 0x20)
    ept_pages(guest, {leaf & ~0xFFF: 1})
    assert launched(guest).reason is ExitReason.HLT


def test_a_breach_of_the_final_address_has_both_addresses() -> None:
    guest = PagedGuest(touches(WRITE))
    guest.map(PAGE, 0x5000)
    ept_pages(guest, {0x5000: 5})
    left = launched(guest)
    assert (left.reason, left.qualification) == (ExitReason.EPT_VIOLATION, 0x182 | 5 << 3)
    assert (guest.field("GUEST_PHYSICAL_ADDRESS"), guest.field("GUEST_LINEAR_ADDRESS")) == (0x5000, PAGE)


def test_a_cold_walk_of_four_levels_over_large_ept_pages_reads_every_entry_once() -> None:
    guest = PagedGuest(touches())
    guest.map(PAGE, 0x5000)
    launched(guest)
    count = guest.processor.guest(Hpa(0x2000)).second.count
    assert (count.tlb_misses, count.references) == (1, 4 + 2 * 3)


def test_a_guest_turns_paging_on_by_itself() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield MoveToCr(0, 0x8001_0021)
        yield Access(PAGE, 8, WRITE, b"12345678")
        yield Nop()
        yield Hlt()

    guest = PagedGuest(program, GUEST_CR0=0x21, ENTRY_CONTROLS=0x91FB, GUEST_EFER=0x900)
    guest.map(PAGE, 0x5000)
    assert launched(guest).reason is ExitReason.HLT
    assert guest.memory.read(Hpa(RAM + 0x5000), 8) == b"12345678"
    assert guest.field("ENTRY_CONTROLS") & 0x200


FRAMES, INDICES = range(1, 6), (0, 1, 255)
BARE: dict[int, int] = {VmcsField.GUEST_CR0: 0x8001_0021, VmcsField.GUEST_CR3: 0x1000, VmcsField.GUEST_CR4: 0x20A0}


def random_guest_tables(chance: random.Random) -> PhysicalMemory:
    """Frames full of entries that mostly lead on; guest-physical is host-physical."""
    memory = PhysicalMemory(1 << 27)
    for frame in FRAMES:
        for index in INDICES:
            flags = chance.choices([7, 3, 5, 1, 0, 7 | 1 << 63], [60, 8, 8, 4, 3, 6])[0]
            entry = flags | chance.choice([*FRAMES, 8, 9]) << 12 | chance.choice([0, 0x20, 0x60, 0x120])
            if chance.random() < 0.15:
                entry = entry & ~0x3FFF_F000 | 0x80 | chance.randrange(2) << 21 | chance.randrange(2) << 12
            if chance.random() < 0.05:
                entry |= 1 << chance.randrange(64)
            memory.write_u64(Hpa(frame * 4096 + index * 8), entry)
    return memory


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(AccessKind), user=st.booleans())
def test_the_guests_own_walk_agrees_with_the_naive_one_also_when_it_is_remembered(
    seed: int, kind: AccessKind, user: bool
) -> None:
    chance = random.Random(seed)
    memory = random_guest_tables(chance)
    cpu = Cpu(memory, EptCapability())
    cpu.paging.efer = 0xD00

    def read(gpa: int) -> int:
        found = memory.read_ram_u64(gpa)
        return 2**64 - 1 if found is None else found

    cpu.bind(BARE, Tlb(), 0, 0)
    for _ in range(15):
        top, upper, lower, last = (chance.choice(INDICES) for _ in range(4))
        linear = top << 39 | upper << 30 | lower << 21 | last << 12 | chance.randrange(4096)
        letter = {READ: "r", WRITE: "w", FETCH: "x"}[kind]
        expected = naive_paging(read, 0x1000, linear, letter, user=user)
        for _ in range(2):
            found = cpu.translate(linear, kind, user=user)
            code = found.error_code if isinstance(found, Fault) else -1
            assert (found if isinstance(found, int) else -1, code) == expected

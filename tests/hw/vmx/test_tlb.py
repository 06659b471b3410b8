"""The TLB: stale until the right invalidation and never after it; tags by VPID, PCID, EP4TA; global pages; capacity."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vmx.paged import CR3, PagedGuest
from tests.hw.vmx.rig import EPTP, LEVEL2, RAM, advance
from vafw.address import Hpa
from vafw.hw.vmx import Access, AccessKind, GuestCpu, InveptType, InvvpidType, Running, Vmcall, VmExit
from vafw.hw.vmx.bits import ExitReason, VmcsField
from vafw.hw.vmx.operation import Invlpg, MoveToCr, Operation
from vafw.hw.vmx.tlb import GLOBAL, PROVEN_WRITE, SHIFT_LSB, Tag, Tlb

PAGE = 0x20_0000_0000
OLD, NEW = 0x5000, 0x6000
GLOBAL_PAGE = 7 | 1 << 8


class Reader(PagedGuest):
    """Reads PAGE for ever and tells what it found; does `between` at the guest's side when asked to."""

    def __init__(self, flags: int = 7, **fields: int) -> None:
        self.between: list[Operation] = []
        super().__init__(self._program, **fields)
        self.leaf = self.map(PAGE, OLD, flags)
        for frame, told in ((OLD, 1), (NEW, 2)):
            self.poke(frame, told)
        self._launched = False
        self.flags = flags

    def _program(self, cpu: GuestCpu) -> Running:
        while True:
            for operation in self.between:
                _ = yield operation
            data = yield Access(PAGE, 1)
            assert isinstance(data, bytes)
            yield Vmcall(data[0])

    def seen(self) -> int:
        left = self.processor.vmresume() if self._launched else self.processor.vmlaunch()
        self._launched = True
        assert isinstance(left, VmExit)
        assert left.reason is ExitReason.VMCALL, left
        advance(self.processor, 3)
        return self.processor.registers.rax

    def move_page(self) -> None:
        """Change the guest's entry behind the TLB's back."""
        assert self.seen() == 1
        self.poke(self.leaf, NEW | self.flags | 0x20)


def test_a_changed_entry_is_served_stale_until_invlpg() -> None:
    guest = Reader()
    guest.move_page()
    assert guest.seen() == 1
    guest.between = [Invlpg(PAGE)]
    assert guest.seen() == 2


def test_invlpg_of_another_page_changes_nothing() -> None:
    guest = Reader()
    guest.move_page()
    guest.between = [Invlpg(PAGE + 0x1000)]
    assert guest.seen() == 1


@pytest.mark.parametrize(("flags", "seen"), [(7, 2), (GLOBAL_PAGE, 1)])
def test_a_cr3_load_forgets_all_but_global_pages(flags: int, seen: int) -> None:
    guest = Reader(flags)
    guest.move_page()
    guest.between = [MoveToCr(3, CR3)]
    assert guest.seen() == seen


@pytest.mark.parametrize(("value", "seen"), [(CR3 | 1, 2), (CR3 | 1 | 1 << 63, 1)])
def test_with_pcids_bit_63_of_a_cr3_load_keeps_what_the_pcid_has(value: int, seen: int) -> None:
    guest = Reader(GUEST_CR4=0x2_20A0, GUEST_CR3=CR3 | 1)
    guest.move_page()
    guest.between = [MoveToCr(3, value)]
    assert guest.seen() == seen


def test_each_pcid_has_its_own_entries() -> None:
    guest = Reader(GUEST_CR4=0x2_20A0, GUEST_CR3=CR3 | 1)
    guest.move_page()
    guest.between = [MoveToCr(3, CR3 | 2)]
    assert guest.seen() == 2
    guest.between = [MoveToCr(3, CR3 | 1 | 1 << 63)]
    assert guest.seen() == 1


def test_a_change_of_cr4_pge_forgets_global_pages_too() -> None:
    guest = Reader(GLOBAL_PAGE, CR4_MASK=0)
    guest.move_page()
    guest.between = [MoveToCr(4, 0x2020)]
    assert guest.seen() == 2


Invalidation = Callable[[Reader], object]


@pytest.mark.parametrize(
    ("flags", "invalidation", "seen"),
    [
        (7, lambda g: g.processor.invvpid(InvvpidType.INDIVIDUAL_ADDRESS, 1, PAGE), 2),
        (GLOBAL_PAGE, lambda g: g.processor.invvpid(InvvpidType.INDIVIDUAL_ADDRESS, 1, PAGE), 2),
        (7, lambda g: g.processor.invvpid(InvvpidType.INDIVIDUAL_ADDRESS, 1, PAGE + 0x1000), 1),
        (7, lambda g: g.processor.invvpid(InvvpidType.INDIVIDUAL_ADDRESS, 2, PAGE), 1),
        (GLOBAL_PAGE, lambda g: g.processor.invvpid(InvvpidType.SINGLE_CONTEXT, 1), 2),
        (7, lambda g: g.processor.invvpid(InvvpidType.SINGLE_CONTEXT, 2), 1),
        (7, lambda g: g.processor.invvpid(InvvpidType.ALL_CONTEXT), 2),
        (7, lambda g: g.processor.invvpid(InvvpidType.SINGLE_CONTEXT_RETAINING_GLOBALS, 1), 2),
        (GLOBAL_PAGE, lambda g: g.processor.invvpid(InvvpidType.SINGLE_CONTEXT_RETAINING_GLOBALS, 1), 1),
        (7, lambda g: g.processor.invept(InveptType.SINGLE_CONTEXT, EPTP), 2),
        (7, lambda g: g.processor.invept(InveptType.SINGLE_CONTEXT, 0x9_001E), 1),
        (7, lambda g: g.processor.invept(InveptType.ALL_CONTEXT), 2),
    ],
)
def test_the_vmms_invalidations_forget_what_they_name_and_nothing_else(
    flags: int, invalidation: Invalidation, seen: int
) -> None:
    guest = Reader(flags)
    guest.move_page()
    assert invalidation(guest) is None
    assert guest.seen() == seen


def test_with_a_vpid_entries_survive_exits_and_without_one_no_exit() -> None:
    with_vpid, without = Reader(), Reader(SECONDARY_CONTROLS=0x82)
    for guest in (with_vpid, without):
        guest.move_page()
    assert (with_vpid.seen(), without.seen()) == (1, 2)


HOST_CR3, HOST_PAGE = 0x2_0000, 0x30_0000_0000


def with_host_page(guest: Reader) -> None:
    """Give the VMM a page of its own, and have it remembered under VPID 0."""
    for table, shift in ((HOST_CR3, 39), (HOST_CR3 + 0x1000, 30), (HOST_CR3 + 0x2000, 21), (HOST_CR3 + 0x3000, 12)):
        guest.memory.write_u64(Hpa(table + (HOST_PAGE >> shift & 511) * 8), table + 0x1000 | 0x23)
    guest.processor.paging.load_cr3(HOST_CR3)
    assert guest.processor.paging.translate(HOST_PAGE) == HOST_CR3 + 0x4000


@pytest.mark.parametrize(("secondary", "hits"), [(0xA2, 1), (0x82, 0)])
def test_the_vmms_own_entries_survive_a_guest_with_a_vpid_and_no_other(secondary: int, hits: int) -> None:
    guest = Reader(SECONDARY_CONTROLS=secondary)
    with_host_page(guest)
    guest.seen()
    guest.processor.paging.translate(HOST_PAGE)
    assert guest.processor.paging.count.tlb_hits == hits


def test_no_invalidation_of_guests_touches_vpid_0_and_the_vmms_own_does() -> None:
    guest = Reader()
    with_host_page(guest)
    guest.processor.invvpid(InvvpidType.ALL_CONTEXT)
    guest.processor.invept(InveptType.ALL_CONTEXT)
    guest.memory.write_u64(Hpa(HOST_CR3 + 0x3000 + (HOST_PAGE >> 12 & 511) * 8), 0x5_0023)
    assert guest.processor.paging.translate(HOST_PAGE) == HOST_CR3 + 0x4000
    guest.processor.paging.invlpg(HOST_PAGE)
    assert guest.processor.paging.translate(HOST_PAGE) == 0x5_0000


def test_another_vpid_or_ept_pointer_sees_none_of_them() -> None:
    for field, value in ((VmcsField.VPID, 2), (VmcsField.EPTP, EPTP | 0x40)):
        guest = Reader()
        guest.move_page()
        guest.processor.vmwrite(field, value)
        assert guest.seen() == (2 if field is VmcsField.VPID else 1)


def test_rights_may_be_added_without_an_invalidation_and_are_kept_when_taken_away() -> None:
    outcomes: list[ExitReason] = []
    for before, after in ((5, 7), (7, 5)):
        guest = Reader(before | 0x60, EXCEPTION_BITMAP=1 << 14)
        guest.between = [Access(PAGE + 8, 8, AccessKind.WRITE, bytes(8))]
        if before == 7:
            guest.seen()
        else:
            guest.processor.vmlaunch()
        guest.poke(guest.leaf, OLD | after | 0x60)
        left = guest.processor.vmresume()
        assert isinstance(left, VmExit)
        outcomes.append(left.reason)
    assert outcomes == [ExitReason.VMCALL, ExitReason.VMCALL]


def test_a_violation_drops_what_was_remembered_so_that_breaking_a_shared_page_needs_no_invept() -> None:
    guest = Reader()
    table, copy = 0x1_8000, 0x80_0000
    for index in range(512):
        rights = 5 if index << 12 == OLD else 7
        guest.memory.write_u64(Hpa(table + index * 8), RAM + (index << 12) | rights | 0x30)
    guest.memory.write_u64(Hpa(LEVEL2), table | 7)
    assert guest.seen() == 1
    guest.between = [Access(PAGE + 8, 8, AccessKind.WRITE, bytes(8))]
    left = guest.processor.vmresume()
    assert isinstance(left, VmExit)
    assert left.reason is ExitReason.EPT_VIOLATION
    guest.memory.write_u64(Hpa(copy), 3)
    guest.memory.write_u64(Hpa(table + (OLD >> 12) * 8), copy | 0x37)
    assert guest.seen() == 3


def test_an_ept_entry_that_loses_a_right_is_used_until_invept() -> None:
    guest = Reader()
    assert guest.seen() == 1
    guest.memory.write_u64(Hpa(LEVEL2), 0)
    assert guest.seen() == 1
    guest.processor.invept(InveptType.SINGLE_CONTEXT, EPTP)
    left = guest.processor.vmresume()
    assert isinstance(left, VmExit)
    assert left.reason is ExitReason.EPT_VIOLATION
    guest.memory.write_u64(Hpa(LEVEL2), RAM | 0xB7)
    assert guest.seen() == 1


# -- the structure itself -----------------------------------------------------------------------------------------

TAGS = [Tag(vpid, pcid, ep4ta) for vpid in (0, 1, 2) for pcid in (GLOBAL, 0, 1) for ep4ta in (-1, 7)]
STEPS = st.one_of(
    st.tuples(st.just("insert"), st.sampled_from(TAGS), st.integers(0, 40), st.sampled_from([12, 21])),
    st.tuples(st.just("drop"), st.integers(0, 2), st.integers(0, 40), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("flush"), st.integers(0, 2), st.sampled_from([None, 0, 1]), st.booleans()),
    st.tuples(st.just("flush_ept"), st.sampled_from([None, 7, 8])),
    st.tuples(st.just("flush_guests")),
)


def applied(model: dict[tuple[Tag, int, int], int], step: tuple[object, ...]) -> dict[tuple[Tag, int, int], int]:
    """The same step on a plain dictionary by (tag, size, page)."""
    match step:
        case ("insert", Tag() as tag, int(page), int(shift)):
            return model | {(tag, shift, (page << 19) >> shift): page}
        case ("drop", vpid, int(page), pcid):
            return {
                (tag, shift, number): kept
                for (tag, shift, number), kept in model.items()
                if tag.vpid != vpid
                or (pcid is not None and tag.pcid not in (pcid, GLOBAL))
                or number != page << 19 >> shift
            }
        case ("flush", vpid, pcid, keep):
            return {
                key: kept
                for key, kept in model.items()
                if key[0].vpid != vpid or (pcid is not None and key[0].pcid != pcid) or (keep and key[0].pcid == GLOBAL)
            }
        case ("flush_ept", ep4ta):
            return {
                key: kept
                for key, kept in model.items()
                if key[0].ep4ta == -1 or (ep4ta is not None and key[0].ep4ta != ep4ta)
            }
        case _:
            return {key: kept for key, kept in model.items() if not key[0].vpid}


def run(tlb: Tlb, step: tuple[object, ...]) -> None:
    match step:
        case ("insert", Tag() as tag, int(page), int(shift)):
            tlb.insert(tlb.tagged(tag), page << 19, page << 22 | shift << SHIFT_LSB | PROVEN_WRITE)
        case ("drop", int(vpid), int(page), int() | None as pcid):
            tlb.drop(page << 19, vpid, pcid)
        case ("flush", int(vpid), int() | None as pcid, bool(keep)):
            tlb.flush(vpid, pcid, keep_global=keep)
        case ("flush_ept", int() | None as ep4ta):
            tlb.flush_ept(ep4ta)
        case _:
            tlb.flush_guests()


@settings(deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_a_tlb_that_is_never_full_is_a_dictionary_by_tag_and_page(steps: list[tuple[object, ...]]) -> None:
    tlb, model = Tlb(10_000), dict[tuple[Tag, int, int], int]()
    for step in steps:
        run(tlb, step)
        model = applied(model, step)
    held = {
        (tag, shift, number): entry >> 22
        for tag in TAGS
        for shift, table in ((12, tlb.tagged(tag).small), (21, tlb.tagged(tag).large))
        for number, entry in table.items()
    }
    assert held == model
    assert len(tlb) == len(model)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_a_small_tlb_holds_at_most_its_capacity_and_nothing_that_a_large_one_does_not(
    steps: list[tuple[object, ...]],
) -> None:
    small, large = Tlb(4), Tlb(10_000)
    for step in steps:
        run(small, step)
        run(large, step)
    for tag in TAGS:
        assert small.tagged(tag).small.items() <= large.tagged(tag).small.items()
        assert small.tagged(tag).large.items() <= large.tagged(tag).large.items()
    assert len(small) == sum(len(small.tagged(tag)) for tag in TAGS) <= 4

"""Which instruction exits, with which qualification, and what it does where it does not exit."""

from __future__ import annotations

import struct

import pytest

from tests.hw.vmx.paged import CR3, PagedGuest
from vafw.address import Hpa
from vafw.hw.vmx import Access, Cpuid, GuestCpu, GuestProgram, Hlt, Running, Vmcall, VmExit
from vafw.hw.vmx.bits import ExitReason, VmcsField
from vafw.hw.vmx.operation import (
    Clts,
    Exiting,
    In,
    Invlpg,
    MoveFromCr,
    MoveToCr,
    Nop,
    Operation,
    Out,
    Rdmsr,
    Rdtsc,
    Wrmsr,
)

PRIMARY = 0x8400_61FA
IO_BITMAPS, MSR_BITMAPS, UNCONDITIONAL_IO = 1 << 25, 1 << 28, 1 << 24
BITMAP = 0x8000
"""Host-physical; I/O bitmap A or the MSR bitmap, and I/O bitmap B in the page behind."""


def does(operation: Operation, seen: list[object] | None = None) -> GuestProgram:
    def program(cpu: GuestCpu) -> Running:
        answer = yield operation
        if seen is not None:
            seen.append(answer)
        yield Hlt()

    return program


def first_exit(operation: Operation, **fields: int) -> VmExit:
    return first_answer(operation, [], **fields)


def first_answer(operation: Operation, seen: list[object], /, **fields: int) -> VmExit:
    left = PagedGuest(does(operation, seen), **fields).processor.vmlaunch()
    assert isinstance(left, VmExit)
    return left


def with_bits(operation: Operation, control: int, bits: list[int]) -> VmExit:
    """Run with bitmaps in use in which these bits are set, numbered over both pages."""
    fields = {"IO_BITMAP_A": BITMAP, "IO_BITMAP_B": BITMAP + 0x1000, "MSR_BITMAP": BITMAP}
    guest = PagedGuest(does(operation), PRIMARY_CONTROLS=PRIMARY | control, EXCEPTION_BITMAP=1 << 13, **fields)
    for bit in bits:
        place = Hpa(BITMAP + bit // 8)
        guest.memory.write(place, bytes((guest.memory.read(place, 1)[0] | 1 << bit % 8,)))
    left = guest.processor.vmlaunch()
    assert isinstance(left, VmExit)
    return left


@pytest.mark.parametrize(
    ("operation", "bits", "qualification"),
    [
        (In(0x60), [0x60], 0x60_0048),
        (Out(0x80, 1), [0x80], 0x80_0040),
        (In(0x3F8, 4), [0x3FB], 0x3F8_000B),
        (Out(0x7FFF, 0, 2), [0x8000], 0x7FFF_0001),
        (In(0xFFFF, 2), [], 0xFFFF_0009),
        (In(0x8000), [0x8000], 0x8000_0008),
    ],
)
def test_a_port_whose_bit_is_set_exits_and_so_does_a_wrap(
    operation: Operation, bits: list[int], qualification: int
) -> None:
    left = with_bits(operation, IO_BITMAPS, bits)
    assert (left.reason, left.qualification) == (ExitReason.IO_INSTRUCTION, qualification)


@pytest.mark.parametrize("operation", [In(0x61), Out(0x5F, 0), In(0x5D, 2)])
def test_ports_beside_it_go_through(operation: Operation) -> None:
    assert with_bits(operation, IO_BITMAPS, [0x60]).reason is ExitReason.HLT


def test_without_bitmaps_a_port_exits_as_the_control_says() -> None:
    assert first_exit(In(0x60), PRIMARY_CONTROLS=PRIMARY | UNCONDITIONAL_IO).reason is ExitReason.IO_INSTRUCTION
    seen: list[object] = []
    assert first_answer(In(0x60, 2), seen).reason is ExitReason.HLT
    assert seen == [0xFFFF]


QUARTERS = [
    (Rdmsr(0x1B), 0x1B),
    (Rdmsr(0xC000_0080), 0x400 * 8 + 0x80),
    (Wrmsr(0x277, 0), 0x800 * 8 + 0x277),
    (Wrmsr(0xC000_0082, 0), 0xC00 * 8 + 0x82),
]


@pytest.mark.parametrize(("operation", "bit"), QUARTERS)
def test_each_quarter_of_the_msr_bitmap_is_for_its_registers(operation: Operation, bit: int) -> None:
    reason = ExitReason.WRMSR if isinstance(operation, Wrmsr) else ExitReason.RDMSR
    assert with_bits(operation, MSR_BITMAPS, [bit]).reason is reason
    others = [each for _, each in QUARTERS if each != bit]
    assert with_bits(operation, MSR_BITMAPS, others).reason is not reason


@pytest.mark.parametrize("index", [0x2000, 0xBFFF_FFFF, 0xC000_2000])
def test_a_register_outside_the_bitmaps_ranges_always_exits(index: int) -> None:
    assert with_bits(Rdmsr(index), MSR_BITMAPS, []).reason is ExitReason.RDMSR


def test_without_a_bitmap_every_register_exits() -> None:
    assert first_exit(Rdmsr(0x10)).reason is ExitReason.RDMSR


def test_registers_that_do_not_exit_are_the_guests() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        yield Wrmsr(0xC000_0082, 0x1234)
        yield Wrmsr(0x176, 0x5678)
        for index in (0xC000_0082, 0x176, 0xC000_0080, 0x480):
            seen.append((yield Rdmsr(index)))
        yield Wrmsr(0xC000_0082, 1 << 47)

    guest = PagedGuest(program, PRIMARY_CONTROLS=PRIMARY | MSR_BITMAPS, MSR_BITMAP=BITMAP, EXCEPTION_BITMAP=1 << 13)
    left = guest.processor.vmlaunch()
    assert isinstance(left, VmExit)
    assert (left.interruption, seen) == (0x8000_0B0D, [0x1234, 0x5678, 0xD00, 0xD8_1000_0000_0004])
    assert guest.field("GUEST_SYSENTER_EIP") == 0x5678


@pytest.mark.parametrize(
    ("number", "value", "mask", "shadow", "exits"),
    [
        (0, 0x8001_0021, 1 << 16, 1 << 16, False),
        (0, 0x8000_0021, 1 << 16, 1 << 16, True),
        (0, 0x8000_0021, 0, 1 << 16, False),
        (4, 0x20A0, 1 << 7, 0, True),
        (4, 0x2020, 1 << 7, 0, False),
    ],
)
def test_a_masked_bit_that_differs_from_its_shadow_exits(
    number: int, value: int, mask: int, shadow: int, exits: bool
) -> None:
    left = first_exit(MoveToCr(number, value), **{f"CR{number}_MASK": mask, f"CR{number}_SHADOW": shadow})
    assert (left.reason is ExitReason.CR_ACCESS) == exits
    assert left.qualification == (number if exits else 0)


def test_a_guest_reads_shadows_where_the_vmm_owns_the_bit() -> None:
    seen: list[object] = []
    first_answer(MoveFromCr(0), seen, CR0_MASK=1 << 16 | 1 << 3, CR0_SHADOW=1 << 3)
    assert seen == [0x8000_0029]


def test_a_masked_bit_stays_the_vmms_where_a_load_does_not_exit() -> None:
    guest = PagedGuest(does(MoveToCr(4, 0x20A0)), CR4_MASK=0x2000, CR4_SHADOW=0x2000)
    guest.processor.vmlaunch()
    assert guest.field("GUEST_CR4") == 0x20A0


@pytest.mark.parametrize(("targets", "exits"), [(0, True), (1, False), (2, False)])
def test_a_cr3_load_exits_but_for_the_target_values(targets: int, exits: bool) -> None:
    fields = {"CR3_TARGETS": targets, "CR3_TARGET_0": CR3, "CR3_TARGET_1": 0}
    left = first_exit(MoveToCr(3, CR3), PRIMARY_CONTROLS=PRIMARY | 1 << 15, **fields)
    assert (left.reason, left.qualification) == ((ExitReason.CR_ACCESS, 3) if exits else (ExitReason.HLT, 0))


def test_a_cr3_store_exits_where_the_control_says() -> None:
    left = first_exit(MoveFromCr(3), PRIMARY_CONTROLS=PRIMARY | 1 << 16)
    assert (left.reason, left.qualification) == (ExitReason.CR_ACCESS, 0x13)


def test_clts_exits_where_the_vmm_shows_ts_set() -> None:
    assert first_exit(Clts(), CR0_MASK=8, CR0_SHADOW=8).qualification == 0x20
    guest = PagedGuest(does(Clts()), GUEST_CR0=0x8001_0029)
    guest.processor.vmlaunch()
    assert guest.field("GUEST_CR0") == 0x8001_0021


@pytest.mark.parametrize(
    ("operation", "value"),
    [(MoveToCr(0, 0x20), 0), (MoveToCr(0, 0x8000_0020), 0), (MoveToCr(4, 0x80A0), 0), (MoveToCr(3, 1 << 40), 0)],
)
def test_a_control_register_value_that_cannot_be_is_a_general_protection_fault(
    operation: Operation, value: int
) -> None:
    left = first_exit(operation, EXCEPTION_BITMAP=1 << 13)
    assert (left.reason, left.interruption, left.error_code) == (ExitReason.EXCEPTION_OR_NMI, 0x8000_0B0D, value)


def test_invlpg_and_rdtsc_exit_where_their_control_says() -> None:
    left = first_exit(Invlpg(0x1234_5000), PRIMARY_CONTROLS=PRIMARY | 1 << 9)
    assert (left.reason, left.qualification) == (ExitReason.INVLPG, 0x1234_5000)
    assert first_exit(Rdtsc(), PRIMARY_CONTROLS=PRIMARY | 1 << 12).reason is ExitReason.RDTSC
    assert first_exit(Rdtsc()).reason is ExitReason.HLT


@pytest.mark.parametrize(
    "reason",
    [ExitReason.GETSEC, ExitReason.INVD, ExitReason.XSETBV, ExitReason.VMXON, ExitReason.INVEPT, ExitReason.INVVPID],
)
def test_some_instructions_always_exit(reason: ExitReason) -> None:
    assert first_exit(Exiting(reason)).reason is reason
    assert first_exit(Cpuid(0)).reason is ExitReason.CPUID


@pytest.mark.parametrize(
    ("bitmap", "mask", "match", "exits"),
    [
        (1 << 14, 0, 0, True),
        (0, 0, 0, False),
        (1 << 14, 2, 2, False),
        (0, 2, 2, True),
        (1 << 14, 1, 1, False),
        (0, 1, 1, True),
    ],
)
def test_a_page_fault_exits_by_bitmap_exclusive_or_mask_and_match(
    bitmap: int, mask: int, match: int, exits: bool
) -> None:
    guest = PagedGuest(
        does(Access(0x20_0000_0000, 1)), EXCEPTION_BITMAP=bitmap, PAGE_FAULT_MASK=mask, PAGE_FAULT_MATCH=match
    )

    def handler(cpu: GuestCpu) -> Running:
        yield Vmcall(14)

    guest.handle(14, handler)
    left = guest.processor.vmlaunch()
    assert isinstance(left, VmExit)
    assert left.reason is (ExitReason.EXCEPTION_OR_NMI if exits else ExitReason.VMCALL)


# -- the preemption timer and the monitor trap --------------------------------------------------------------------


def endless(cpu: GuestCpu) -> Running:
    while True:
        yield Nop()


@pytest.mark.parametrize("ticks", [0, 1, 5])
def test_the_preemption_timer_ends_a_guest_that_never_exits(ticks: int) -> None:
    guest = PagedGuest(endless, PIN_CONTROLS=0x57, PREEMPTION_TIMER=ticks)
    left = guest.processor.vmlaunch()
    assert isinstance(left, VmExit)
    assert (left.reason, guest.field("GUEST_RIP")) == (ExitReason.PREEMPTION_TIMER, 0x1000 + ticks)
    assert guest.field("PREEMPTION_TIMER") == ticks


def test_the_preemption_timer_is_saved_where_the_exit_controls_say() -> None:
    guest = PagedGuest(does(Cpuid(0)), PIN_CONTROLS=0x57, PREEMPTION_TIMER=9, EXIT_CONTROLS=0x43_EFFB)
    guest.processor.vmlaunch()
    assert guest.field("PREEMPTION_TIMER") == 8


def test_the_monitor_trap_flag_exits_after_each_instruction() -> None:
    guest = PagedGuest(endless, PRIMARY_CONTROLS=PRIMARY | 1 << 27)
    places = []
    for enter in (guest.processor.vmlaunch, guest.processor.vmresume):
        left = enter()
        assert isinstance(left, VmExit)
        assert left.reason is ExitReason.MONITOR_TRAP_FLAG
        places.append(guest.field("GUEST_RIP"))
    assert places == [0x1001, 0x1002]


# -- the MSR areas ------------------------------------------------------------------------------------------------

AREA = 0xA000


def with_area(*entries: tuple[int, int, int], field: str) -> PagedGuest:
    guest = PagedGuest(does(Cpuid(0)), **{field: AREA, f"{field}_COUNT": len(entries)})
    guest.memory.write(Hpa(AREA), b"".join(struct.pack("<IIQ", *each) for each in entries))
    return guest


def test_a_vm_entry_loads_its_msr_area_and_a_vm_exit_stores_its_own() -> None:
    guest = with_area((0xC000_0082, 0, 0x77), (0x176, 0, 0x88), field="ENTRY_MSR_LOAD")
    assert isinstance(guest.processor.vmlaunch(), VmExit)
    assert (guest.processor.state.msrs, guest.field("GUEST_SYSENTER_EIP")) == ({0xC000_0082: 0x77}, 0x88)
    stored = with_area((0xC000_0080, 0, 0), (0x176, 0, 9), field="EXIT_MSR_STORE")
    stored.processor.vmlaunch()
    assert [stored.memory.read_u64(Hpa(AREA + 8 + 16 * each)) for each in (0, 1)] == [0xD00, 0]


@pytest.mark.parametrize(
    "bad", [(0xC000_0100, 0, 0), (0x800, 0, 0), (0x176, 1, 0), (0xC000_0082, 0, 1 << 47), (0x3A, 0, 5)]
)
def test_a_bad_entry_of_the_load_area_is_an_entry_failure_34_with_its_number(bad: tuple[int, int, int]) -> None:
    guest = with_area((0x176, 0, 1), bad, field="ENTRY_MSR_LOAD")
    left = guest.processor.vmlaunch()
    assert isinstance(left, VmExit)
    assert (left.reason, left.qualification, left.entry_failed) == (ExitReason.MSR_LOADING, 2, True)
    assert guest.processor.vmread(VmcsField.EXIT_REASON) == 0x8000_0022

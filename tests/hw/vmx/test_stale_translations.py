"""Translations go stale until software invalidates them."""

from __future__ import annotations

from tests.hw.vmx.rig import (
    EPTP,
    LEVEL2,
    RAM,
    advance,
    ready,
)
from vafw.address import PAGE_SIZE_2M, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import (
    GuestCpu,
    InveptType,
    LogicalProcessor,
    Running,
    Vmcall,
    VmExit,
)
from vafw.hw.vmx.bits import (
    ExitReason,
)


def looks_at_page(cpu: GuestCpu) -> Running:
    while True:
        yield Vmcall(int.from_bytes(cpu.read(0x20_0000, 1), "little"))


def seen_by(processor: LogicalProcessor) -> int:
    outcome = processor.vmresume()
    assert isinstance(outcome, VmExit)
    assert outcome.reason is ExitReason.VMCALL
    advance(processor, 3)
    return processor.registers.rax


def remap_second_page(memory: PhysicalMemory) -> None:
    memory.write(Hpa(RAM + PAGE_SIZE_2M), b"\x01")
    memory.write(Hpa(0x80_0000), b"\x02")
    memory.write_u64(Hpa(LEVEL2 + 8), 0x80_0000 | 0xB7)


def test_a_changed_entry_may_go_unseen_until_invept() -> None:
    memory, processor = ready(looks_at_page)
    processor.vmlaunch()
    advance(processor, 3)
    remap_second_page(memory)
    assert seen_by(processor) == 1
    assert processor.invept(InveptType.SINGLE_CONTEXT, EPTP) is None
    assert [seen_by(processor), seen_by(processor)] == [2, 2]


def test_invept_of_another_eptp_forgets_nothing_of_this_one_and_of_all_everything() -> None:
    memory, processor = ready(looks_at_page)
    processor.vmlaunch()
    advance(processor, 3)
    remap_second_page(memory)
    processor.invept(InveptType.SINGLE_CONTEXT, 0x9_0000 | 0x1E)
    assert seen_by(processor) == 1
    processor.invept(InveptType.ALL_CONTEXT)
    assert seen_by(processor) == 2


def test_the_guest_sees_the_time_stamp_counter_with_its_offset() -> None:
    def program(cpu: GuestCpu) -> Running:
        while True:
            yield Vmcall(cpu.tsc())

    _, processor = ready(program, TSC_OFFSET=1000)
    processor.tsc = 5
    processor.vmlaunch()
    assert processor.registers.rax == 1005

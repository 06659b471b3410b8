"""The VMM: lending memory and functions to VMs, running them, and taking everything back."""

from __future__ import annotations

import pytest

from tests.vmm.pc import DISPLAY, MIB, NIC, build_pc, idles, says
from vafw.address import Gpa, Hpa, Iova
from vafw.errors import NoSuchObject
from vafw.hw.vmx import Access, Cpuid, GuestCpu, GuestProgram, Hlt, Running, Vmcall
from vafw.hw.vtd import DmaFault
from vafw.trace import EventKind
from vafw.vmm.boot import BOOT_GPA, BootInformation
from vafw.vmm.frames import OutOfFrames
from vafw.vmm.hypercall import Hypercall, Status
from vafw.vmm.refusal import VmmError
from vafw.vmm.vm import Vector, VmState, memory_layout


def test_a_vm_finds_zeroed_memory_and_its_description() -> None:
    pc = build_pc()
    pc.memory.write(pc.frames.allocate(), b"left over")
    vm = pc.vmm.create_vm("firewall", 32 * MIB)
    assert vm.memory.read(0, 4096) == bytes(4096)
    pc.vmm.assign("firewall", NIC, name="nic", port="outside")
    pc.vmm.create_vm("dns", 32 * MIB)
    pc.vmm.wire("a", ("firewall", "inside"), ("dns", "outside"))
    pc.vmm.start("firewall", idles, {"rules": ["x"]})
    boot = BootInformation.read(vm.memory.read)
    assert boot == vm.boot_information({"rules": ["x"]})
    assert [(each.name, each.device_class, each.port) for each in boot.functions] == [("nic", "network", "outside")]
    assert [(each.name, each.vector) for each in boot.ports] == [("inside", Vector.FIRST_PORT)]


def test_memory_beyond_3_gib_continues_at_4_gib() -> None:
    assert memory_layout(4096 * MIB) == ((0, 0xC000_0000), (0x1_0000_0000, 0x4000_0000))


@pytest.mark.parametrize("size", [0, 31 * MIB, 33 * MIB])
def test_a_vm_of_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(VmmError, match=rf"multiple of 2 MiB from 32 MiB up, not {size} bytes$"):
        build_pc().vmm.create_vm("x", size)


def test_a_vm_that_the_host_has_no_room_for_is_refused_and_takes_nothing() -> None:
    pc = build_pc()
    free = pc.frames.free_bytes
    with pytest.raises(OutOfFrames):
        pc.vmm.create_vm("x", 1024 * MIB)
    assert pc.frames.free_bytes == free


def test_vms_run_in_turn_until_all_are_idle_and_an_interrupt_makes_one_runnable() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        while True:
            seen.append((yield Hlt()))

    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", program)
    assert pc.vmm.run_until_idle()
    pc.vmm.interrupt("a", Vector.REPORT)
    pc.vmm.interrupt("a", Vector.PROBE)
    pc.vmm.interrupt("a", Vector.REPORT)
    assert pc.vmm.run_until_idle()
    assert seen == [Vector.REPORT, Vector.PROBE]
    assert dict(pc.vmm.vm("a").exits) == {"HLT": 3}


def test_a_guest_that_never_halts_does_not_keep_the_others_from_running() -> None:
    def spins(cpu: GuestCpu) -> Running:
        while True:
            yield Vmcall(999)

    pc = build_pc()
    for name, program in (("spins", spins), ("speaks", says("hello"))):
        pc.vmm.create_vm(name, 32 * MIB)
        pc.vmm.start(name, program)
    assert not pc.vmm.run_until_idle(budget=2000)
    assert list(pc.vmm.vm("speaks").log) == ["hello"]


def test_a_guest_is_interrupted_when_its_timer_is_due_and_not_before() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        yield Vmcall(Hypercall.SET_TIMER, 1_000)
        while True:
            seen.append(((yield Hlt()), cpu.tsc()))

    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", program)
    pc.vmm.run_until_idle()
    assert pc.vmm.next_deadline_ns == 1_000
    for now in (999, 1_000, 2_000):
        pc.vmm.set_time(now)
        pc.vmm.run_until_idle()
    assert seen == [(Vector.TIMER, 1_000)]


def test_a_guest_is_told_the_date_once_somebody_knows_it() -> None:
    seen: list[tuple[object, int]] = []

    def program(cpu: GuestCpu) -> Running:
        vector: object = None
        while True:
            yield Vmcall(Hypercall.WALL_CLOCK, 0x100_0000)
            seen.append((vector, int.from_bytes(cpu.read(0x100_0000, 8), "little")))
            vector = yield Hlt()

    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", program)
    pc.vmm.run_until_idle()
    pc.vmm.set_wall_clock(1_796_000_000_000_000_001)
    pc.vmm.run_until_idle()
    assert seen == [(None, 0), (Vector.CLOCK, 1_796_000_000_000_000_001)]


def test_cpuid_says_whose_guest_it_is() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        seen.append((yield Cpuid(0x4000_0000)))
        seen.append((yield Cpuid(1)))
        yield from idles(cpu)

    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", program)
    pc.vmm.run_until_idle()
    word = int.from_bytes(b"vafw", "little")
    assert seen == [(0x4000_0000, word, word, word), (0, 0, 1 << 31, 0)]


def test_a_guest_that_dies_fails_and_everything_it_had_is_taken_back() -> None:
    def dies(cpu: GuestCpu) -> Running:
        yield Hlt()
        cpu.write(1 << 40, b"escape")

    pc = build_pc()
    free = pc.frames.free_bytes
    vm = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic", port="outside")
    pc.vmm.start("a", dies)
    pc.vmm.run_until_idle()
    pc.vmm.interrupt("a", Vector.PROBE)
    pc.vmm.run_until_idle()
    assert vm.state is VmState.FAILED
    assert vm.ended.startswith("VM exit 2 TRIPLE_FAULT: Unrestartable: EPT violation at GPA 0x10000000000")
    assert pc.remapping.domain_of(NIC) is None
    assert pc.frames.free_bytes >= free - 4096
    kinds = [record.kind for record in pc.vmm.take_records()]
    assert kinds[-3:] == [EventKind.EPT_VIOLATION, EventKind.VM_FAILED, EventKind.DEVICE_RELEASED]


def test_stopping_scrubs_memory_and_quarantines_the_function() -> None:
    pc = build_pc()
    vm = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic", port="outside")
    pc.vmm.start("a", idles, {"secret": "s3cr3t"})
    described = Hpa(vm.ranges[0].hpa + BOOT_GPA)
    assert pc.root_complex.dma_read(NIC, Iova(BOOT_GPA), 8) == b"vafwboot"
    assert b"s3cr3t" in pc.memory.read(described, 512)
    pc.vmm.stop("a")
    pc.vmm.stop("a")
    assert pc.memory.read(described, 512) == bytes(512)
    assert isinstance(pc.root_complex.dma_read(NIC, Iova(BOOT_GPA), 8), DmaFault)
    assert not pc.nic.config.bus_master
    assert pc.nic.config.message is None


def test_a_function_can_go_to_another_vm_only_after_its_release() -> None:
    pc = build_pc()
    for name in ("a", "b"):
        pc.vmm.create_vm(name, 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic", port="outside")
    with pytest.raises(VmmError, match=r"^function nic at 02:00\.0 must be released before it is assigned again$"):
        pc.vmm.assign("b", NIC, name="nic", port="outside")
    pc.vmm.stop("a")
    pc.vmm.assign("b", NIC, name="nic", port="outside")
    assert pc.remapping.domain_of(NIC) == pc.vmm.vm("b").domain


def test_a_function_that_is_not_there_is_refused() -> None:
    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    with pytest.raises(VmmError, match=r"^function nic must be there to be assigned, but nothing answers at 02:00\.1$"):
        pc.vmm.assign("a", NIC.__class__(2, 0, 1), name="nic")


def test_a_running_vm_is_given_no_function_and_no_new_port_refused() -> None:
    pc = build_pc()
    for name in ("a", "b"):
        pc.vmm.create_vm(name, 32 * MIB)
    pc.vmm.start("a", idles)
    with pytest.raises(VmmError, match=r"^VM 'a' must be created for that, but it is running$"):
        pc.vmm.assign("a", DISPLAY, name="display")
    with pytest.raises(VmmError, match=r"^VM 'a' must be created for that, but it is running$"):
        pc.vmm.wire("late", ("a", "inside"), ("b", "outside"))


def test_a_port_that_a_nic_feeds_is_no_link_port_refused() -> None:
    pc = build_pc()
    for name in ("a", "b"):
        pc.vmm.create_vm(name, 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic", port="outside")
    with pytest.raises(VmmError, match=r"^port a\.outside must be fed by one function or link$"):
        pc.vmm.wire("x", ("a", "outside"), ("b", "outside"))


def test_a_name_in_use_is_refused_and_is_free_after_the_stop() -> None:
    pc = build_pc()
    first = pc.vmm.create_vm("a", 32 * MIB)
    with pytest.raises(VmmError, match=r"^VM 'a' must be stopped before its name is used again$"):
        pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.stop("a")
    assert pc.vmm.create_vm("a", 32 * MIB) is not first


def test_a_vm_that_nobody_created_is_refused() -> None:
    with pytest.raises(NoSuchObject, match=r"^a VM must be one of \(none\), not 'a'$"):
        build_pc().vmm.stop("a")


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (Vmcall(0), Status.UNKNOWN_CALL),
        (Vmcall(1 << 63), Status.UNKNOWN_CALL),
        (Vmcall(Hypercall.LINK_DOORBELL, 0), Status.NO_SUCH_PORT),
        (Vmcall(Hypercall.LINK_SETUP, 1 << 40, 0), Status.NO_SUCH_PORT),
        (Vmcall(Hypercall.LOG, 32 * MIB, 8), Status.BAD_ADDRESS),
        (Vmcall(Hypercall.LOG, 32 * MIB - 4, 8), Status.BAD_ADDRESS),
        (Vmcall(Hypercall.LOG, 0, 1 << 40), Status.BAD_ARGUMENT),
        (Vmcall(Hypercall.HEALTH, 1, 1 << 50, 4), Status.BAD_ADDRESS),
        (Vmcall(Hypercall.REPORT, 0, 1 << 30), Status.BAD_ARGUMENT),
        (Vmcall(Hypercall.REPORT, 0, 16), Status.BAD_ARGUMENT),
        (Vmcall(Hypercall.SET_TIMER, 5), Status.OK),
        (Vmcall(Hypercall.WALL_CLOCK, 32 * MIB - 4), Status.BAD_ADDRESS),
    ],
)
def test_a_hypercall_that_makes_no_sense_is_answered_and_changes_nothing(call: Vmcall, status: Status) -> None:
    answers: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        answers.append((yield call))
        yield from idles(cpu)

    pc = build_pc()
    vm = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", program)
    pc.vmm.run_until_idle()
    assert (answers, vm.state) == ([status], VmState.RUNNING)
    assert (list(vm.log), vm.health, vm.report) == ([], None, None)


def test_a_log_line_cannot_carry_control_characters_to_a_terminal() -> None:
    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", says("red \x1b[31m\nnext"))
    pc.vmm.run_until_idle()
    assert list(pc.vmm.vm("a").log) == ["red \N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}next"]


def test_functions_interrupt_their_own_vm_and_no_other() -> None:
    pc = build_pc()
    seen: list[tuple[str, object]] = []

    def listens(name: str) -> GuestProgram:
        def program(cpu: GuestCpu) -> Running:
            while True:
                seen.append((name, (yield Hlt())))

        return program

    for name, bdf in (("a", NIC), ("b", DISPLAY)):
        pc.vmm.create_vm(name, 32 * MIB)
        pc.vmm.assign(name, bdf, name=name)
        pc.vmm.start(name, listens(name))
    pc.vmm.run_until_idle()
    pc.display.signal()
    pc.vmm.run_until_idle()
    assert seen == [("b", Vector.FIRST_FUNCTION)]


def test_blocked_dma_is_journalled_under_the_name_of_the_vm() -> None:
    pc = build_pc()
    pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic")
    pc.vmm.take_records()
    pc.root_complex.dma_write(NIC, Iova(32 * MIB), b"x")
    assert [(each.kind, each.subject) for each in pc.vmm.take_records()] == [(EventKind.DMA_FAULT, "a")]


def test_an_exit_that_the_vmm_has_no_answer_to_fails_the_vm_and_is_journalled() -> None:
    pc = build_pc()
    vm = pc.vmm.create_vm("a", 32 * MIB)
    root = vm.tables.eptp & 0xF_FFFF_FFFF_F000
    pc.memory.write_u64(Hpa(root + 8), 2)

    def stumbles(cpu: GuestCpu) -> Running:
        yield Access(Gpa(1 << 39), 4)

    pc.vmm.start("a", stumbles)
    pc.vmm.run_until_idle()
    assert vm.state is VmState.FAILED
    assert vm.ended == (
        "VM exit 49 EPT_MISCONFIGURATION: EPT misconfiguration at GPA 0x8000000000, level 4: EptEntry(0x2: W)"
    )
    assert pc.vmm.take_records()[-1].detail == {"why": vm.ended}


def test_an_interrupt_that_arrives_in_non_root_operation_reaches_the_guest_it_is_for() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        while True:
            seen.append((yield Hlt()))

    pc = build_pc()
    vm = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic")
    pc.vmm.start("a", program)
    pc.vmm.run_until_idle()
    pc.vmm.interrupt("a", Vector.REPORT)
    vm.vcpus[0].processor.raise_interrupt(vm.assignments[NIC].host_vector)
    pc.vmm.run_until_idle()
    assert seen == [Vector.REPORT, Vector.FIRST_FUNCTION]
    assert vm.exits["EXTERNAL_INTERRUPT"] == 1


def test_an_interrupt_of_a_function_that_is_gone_is_nobodys() -> None:
    pc = build_pc()
    vm = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic")
    pc.vmm.start("a", idles)
    pc.nic.signal()
    pc.vmm.stop("a")
    assert pc.vmm.run_until_idle()
    assert (vm.pending, pc.root_complex.take_interrupts()) == ({}, ())

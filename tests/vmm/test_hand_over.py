"""VMs and functions changing hands in any order: what must hold after every step (QSB-052, 054, 058, 079, 095, 115)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.vmm.pc import DISPLAY, MIB, NIC, build_pc, idles
from vafw.address import Gpa, Hpa, Iova
from vafw.hw.vmx import GuestCpu, Running
from vafw.hw.vmx.ept import AccessKind, EptCapability, Violation, walk
from vafw.hw.vtd import DmaFault
from vafw.vmm.vm import Vm, VmState

NAMES = ("a", "b", "c")
MARK_GPA = 0x20_0000
LIVE = (VmState.CREATED, VmState.RUNNING)


class HandOver(RuleBasedStateMachine):
    """Create, assign, wire, start, interrupt and stop."""

    names = st.sampled_from(NAMES)

    @initialize()
    def begin(self) -> None:
        self.pc = build_pc()
        self.vmm = self.pc.vmm
        self.free = self.pc.frames.free_bytes
        self.links_wired = 0

    def live(self) -> list[Vm]:
        return [vm for vm in self.vmm.vms if vm.state in LIVE]

    def fresh(self) -> list[Vm]:
        return [vm for vm in self.vmm.vms if vm.state is VmState.CREATED]

    def owner(self, bdf: object) -> Vm | None:
        return next((vm for vm in self.live() if bdf in vm.assignments), None)

    @precondition(lambda self: len(self.live()) < len(NAMES))
    @rule(data=st.data(), size=st.sampled_from([32, 34, 64]))
    def create(self, data: st.DataObject, size: int) -> None:
        taken = {vm.name for vm in self.live()}
        name = data.draw(st.sampled_from([each for each in NAMES if each not in taken]))
        vm = self.vmm.create_vm(name, size * MIB)
        assert vm.memory.read(MARK_GPA, 4096) == bytes(4096)
        vm.memory.write(MARK_GPA, name.encode() * 4096)

    @precondition(lambda self: self.fresh() and self.owner(NIC) is None)
    @rule(data=st.data())
    def assign_nic(self, data: st.DataObject) -> None:
        vm = data.draw(st.sampled_from(self.fresh()))
        self.vmm.assign(vm.name, NIC, name="nic", port="wire")

    @precondition(lambda self: self.fresh() and self.owner(DISPLAY) is None)
    @rule(data=st.data())
    def assign_display(self, data: st.DataObject) -> None:
        vm = data.draw(st.sampled_from(self.fresh()))
        self.vmm.assign(vm.name, DISPLAY, name="display")

    @precondition(lambda self: len(self.fresh()) >= 2)
    @rule()
    def wire(self) -> None:
        outer, inner = self.fresh()[:2]
        self.links_wired += 1
        port = f"port{self.links_wired}"
        self.vmm.wire(f"link{self.links_wired}", (outer.name, port), (inner.name, port))

    @precondition(lambda self: self.fresh())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.vmm.start(data.draw(st.sampled_from(self.fresh())).name, idles)

    @rule()
    def run(self) -> None:
        self.pc.nic.signal()
        self.pc.display.signal()
        assert self.vmm.run_until_idle()

    @precondition(lambda self: self.vmm.vms)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.vmm.stop(data.draw(st.sampled_from(self.vmm.vms)).name)

    @invariant()
    def no_frame_has_two_owners(self) -> None:
        spans = sorted((each.hpa, each.hpa + each.size) for vm in self.live() for each in vm.ranges)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))

    @invariant()
    def every_vm_reaches_its_own_memory_and_nothing_after_it(self) -> None:
        for vm in self.live():
            assert vm.memory.read(MARK_GPA, 16) == vm.name.encode() * 16
            beyond = walk(self.pc.memory, vm.tables.eptp, vm.end_of_memory, AccessKind.READ, EptCapability())
            assert isinstance(beyond, Violation)

    @invariant()
    def a_function_reaches_its_owners_memory_and_without_one_nothing(self) -> None:
        for bdf in (NIC, DISPLAY):
            owner = self.owner(bdf)
            answer = self.pc.root_complex.dma_read(bdf, Iova(MARK_GPA), 16)
            assert isinstance(answer, DmaFault) == (owner is None)
            assert owner is None or answer == owner.name.encode() * 16
            assert (self.pc.remapping.domain_of(bdf) is None) == (owner is None)

    @invariant()
    def a_function_without_an_owner_cannot_speak(self) -> None:
        for function in (self.pc.nic, self.pc.display):
            assert function.config.bus_master == (self.owner(function.bdf) is not None)

    @invariant()
    def every_link_joins_two_live_vms(self) -> None:
        names = {vm.name for vm in self.live()}
        assert all({link.outer.vm, link.inner.vm} <= names for link in self.vmm.wiring.links)

    def teardown(self) -> None:
        for vm in self.vmm.vms:
            self.vmm.stop(vm.name)
        context_tables = 2 * 4096
        assert self.pc.frames.free_bytes >= self.free - context_tables


HandOver.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestHandOver = HandOver.TestCase


def test_an_address_that_was_a_vms_is_no_address_of_the_next_one_on_the_same_frames() -> None:
    pc = build_pc()
    first = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic")
    pc.root_complex.dma_write(NIC, Iova(MARK_GPA), b"in flight")
    pc.vmm.stop("a")
    second = pc.vmm.create_vm("b", 32 * MIB)
    assert second.ranges[0].hpa == first.ranges[0].hpa
    assert isinstance(pc.root_complex.dma_write(NIC, Iova(MARK_GPA), b"late"), DmaFault)
    assert second.memory.read(Gpa(MARK_GPA), 16) == bytes(16)


def test_a_guest_whose_tables_stand_where_anothers_stood_inherits_no_translation() -> None:
    seen: list[bytes] = []

    def looks(cpu: GuestCpu) -> Running:
        seen.append(cpu.read(MARK_GPA, 4))
        yield from idles(cpu)

    pc = build_pc(processors=1)
    first = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.start("a", looks)
    pc.vmm.run_until_idle()
    pc.vmm.stop("a")
    taken = pc.frames.allocate(512, align=2 * MIB)
    pc.memory.write(Hpa(first.ranges[0].hpa + MARK_GPA), b"old!")
    second = pc.vmm.create_vm("b", 32 * MIB)
    second.memory.write(MARK_GPA, b"new!")
    assert (taken, second.tables.eptp) == (first.ranges[0].hpa, first.tables.eptp)
    pc.vmm.start("b", looks)
    pc.vmm.run_until_idle()
    assert seen == [bytes(4), b"new!"]

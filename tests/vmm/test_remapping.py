from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vafw.address import PAGE_SIZE, PAGE_SIZE_2M, Bdf, Hpa, Iova
from vafw.errors import PlatformUnable
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd import FaultReason, Interrupt, InterruptFault, RemappingUnit, Translation, UnitCapability
from vafw.vmm.frames import FrameAllocator, OutOfFrames
from vafw.vmm.remapping import FaultRecord, MappingRefused, RemappingDriver, UnitNotAnswering

UNIT = Hpa(0xFED9_0000)
NIC, DISPLAY, ALIAS = Bdf(2, 0, 0), Bdf(0, 2, 0), Bdf(2, 0, 1)
GUEST = Hpa(0x1000_0000)


class Machine:
    """A unit and its driver over 1 GiB, remapping enabled."""

    def __init__(
        self, capability: UnitCapability | None = None, *, frames: int = 4096, fault_vector: int | None = None
    ) -> None:
        self.memory = PhysicalMemory(1 << 30)
        self.unit = RemappingUnit(self.memory, capability)
        self.memory.map_window(UNIT, PAGE_SIZE, self.unit)
        self.frames = FrameAllocator(Hpa(0x10_0000), frames * PAGE_SIZE)
        self.driver = RemappingDriver(self.memory, self.frames, UNIT)
        self.driver.enable(fault_vector=fault_vector)

    def ask(self, iova: int, *, write: bool = False, bdf: Bdf = NIC) -> int:
        """The host address, or minus the reason."""
        answer = self.unit.translate(bdf, Iova(iova), write=write)
        return answer.hpa if isinstance(answer, Translation) else -answer.reason.value


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def domain(machine: Machine) -> int:
    """NIC's domain: 4 MiB at 0."""
    created = machine.driver.create_domain()
    machine.driver.map(created, Iova(0), GUEST, 4 << 20)
    machine.driver.attach(NIC, created)
    return created


PAGES = 1536
"""Of the drawn address space: three 2 MiB pages, so that ranges cover, touch and straddle superpages."""
PAGE_NUMBER = st.one_of(st.integers(0, PAGES - 1), st.sampled_from([0, 511, 512, 1024]))
COUNT = st.one_of(st.integers(1, 8), st.sampled_from([511, 512, 513, 1024]))


class DevicesSeeExactlyTheirMappings(RuleBasedStateMachine):
    """The unit, walking tables that the driver wrote, against a dictionary of pages."""

    capability = UnitCapability()

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(self.capability)
        self.domain = self.machine.driver.create_domain()
        self.machine.driver.attach(NIC, self.domain)
        self.pages: dict[int, tuple[int, bool, bool]] = {}
        self.large: set[int] = set()
        self.tables: set[int] = set()
        self.touched = {0, 1, 511, 512, 1023}

    @rule(page=PAGE_NUMBER, count=COUNT, frame=st.sampled_from([0, 1, 512]), rights=st.sampled_from([1, 2, 3]))
    def map(self, page: int, count: int, frame: int, rights: int) -> None:
        read, write = bool(rights & 1), bool(rights & 2)
        hpa = GUEST + (page + frame) * PAGE_SIZE
        wanted = range(page, page + count)
        try:
            self.machine.driver.map(self.domain, Iova(page << 12), Hpa(hpa), count << 12, read=read, write=write)
        except MappingRefused:
            assert any(each in self.pages for each in wanted)
        else:
            assert not any(each in self.pages for each in wanted)
            self.note_sizes(page, page + count, frame)
            self.pages |= {each: (hpa + (each - page) * PAGE_SIZE, read, write) for each in wanted}
        self.touched |= {page, page + count - 1, page + count}

    def note_sizes(self, page: int, end: int, frame: int) -> None:
        """Which 2 MiB regions get one page, and which a table of small ones, that stays once it is there."""
        while page < end:
            region, offset = divmod(page, 512)
            whole = offset == 0 and frame % 512 == 0 and end - page >= 512 and region not in self.tables
            (self.large if whole else self.tables).add(region)
            page += 512 if whole else 1

    def cut(self, wanted: range) -> bool:
        """Whether a 2 MiB page lies in part inside and in part outside."""
        inside = {each // 512 for each in wanted} & self.large
        return any(region * 512 not in wanted or region * 512 + 511 not in wanted for region in inside)

    @rule(page=PAGE_NUMBER, count=COUNT)
    def unmap(self, page: int, count: int) -> None:
        wanted = range(page, page + count)
        try:
            self.machine.driver.unmap(self.domain, Iova(page << 12), count << 12)
        except MappingRefused:
            assert self.cut(wanted) or not all(each in self.pages for each in wanted)
        else:
            assert not self.cut(wanted)
            self.large -= {each // 512 for each in wanted}
            for each in wanted:
                del self.pages[each]
        self.touched |= {page, page + count - 1, page + count}

    @rule()
    def hand_over_and_back(self) -> None:
        self.machine.driver.detach(NIC)
        assert {self.machine.ask(page << 12) for page in self.touched} == {-FaultReason.CONTEXT_NOT_PRESENT}
        self.machine.driver.attach(NIC, self.domain)

    @invariant()
    def the_device_reaches_what_is_mapped_and_nothing_else(self) -> None:
        for page in self.touched:
            hpa, read, write = self.pages.get(page, (0, False, False))
            assert self.machine.ask(page << 12 | 5) == (hpa | 5 if read else -6)
            assert self.machine.ask(page << 12 | 5, write=True) == (hpa | 5 if write else -5)


class InCachingMode(DevicesSeeExactlyTheirMappings):
    capability = UnitCapability(caching_mode=True)


TestDevicesSeeExactlyTheirMappings = DevicesSeeExactlyTheirMappings.TestCase
TestDevicesSeeExactlyTheirMappings.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestInCachingMode = InCachingMode.TestCase
TestInCachingMode.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


def test_enabling_blocks_every_device_and_forged_interrupt(machine: Machine) -> None:
    assert machine.ask(0) == machine.ask(0, bdf=DISPLAY) == -FaultReason.ROOT_NOT_PRESENT
    assert isinstance(machine.unit.remap(NIC, 0xFEE0_0000, 0x41), InterruptFault)
    assert machine.memory.read_u32(Hpa(UNIT + 0x1C)) == 0xC700_0000


def test_aligned_memory_is_mapped_in_2_mib_pages(machine: Machine, domain: int) -> None:
    answer = machine.unit.translate(NIC, Iova(PAGE_SIZE_2M + 5), write=True)
    assert answer == Translation(Hpa(GUEST + PAGE_SIZE_2M + 5), PAGE_SIZE_2M, domain)


def test_a_function_sees_its_own_domain_only(machine: Machine, domain: int) -> None:
    other = machine.driver.create_domain()
    machine.driver.map(other, Iova(0), Hpa(0x2000_0000), PAGE_SIZE)
    machine.driver.attach(DISPLAY, other)
    assert (machine.ask(0), machine.ask(0, bdf=DISPLAY)) == (GUEST, 0x2000_0000)


def test_a_detached_function_reaches_nothing_and_may_be_detached_again(machine: Machine, domain: int) -> None:
    assert machine.ask(0) == GUEST
    machine.driver.detach(NIC)
    machine.driver.detach(NIC)
    assert (machine.ask(0), machine.driver.domain_of(NIC)) == (-FaultReason.CONTEXT_NOT_PRESENT, None)


def test_aliases_are_attached_together(machine: Machine) -> None:
    domain = machine.driver.create_domain()
    machine.driver.map(domain, Iova(0), GUEST, PAGE_SIZE)
    machine.driver.attach(NIC, domain, aliases=(ALIAS,))
    assert machine.ask(0) == machine.ask(0, bdf=ALIAS) == GUEST


def test_one_alias_that_is_taken_keeps_all_of_them_out(machine: Machine, domain: int) -> None:
    other = machine.driver.create_domain()
    message = r"^function 02:00\.0 must be detached from domain 1 before it is attached to domain 2$"
    with pytest.raises(MappingRefused, match=message):
        machine.driver.attach(DISPLAY, other, aliases=(NIC,))
    assert machine.driver.domain_of(DISPLAY) is None
    assert machine.ask(0, bdf=DISPLAY) < 0


def test_a_context_table_that_cannot_be_had_attaches_nobody() -> None:
    machine = Machine(frames=5)
    domain = machine.driver.create_domain()
    with pytest.raises(OutOfFrames):
        machine.driver.attach(NIC, domain)
    assert machine.driver.domain_of(NIC) is None
    assert machine.ask(0) == -FaultReason.ROOT_NOT_PRESENT


def test_a_mapping_that_runs_out_of_frames_maps_nothing() -> None:
    machine = Machine(frames=11)
    domain = machine.driver.create_domain()
    machine.driver.attach(NIC, domain)
    with pytest.raises(OutOfFrames):
        machine.driver.map(domain, Iova(PAGE_SIZE), Hpa(GUEST + 0x5000), 6 << 20)
    assert {machine.ask(address) for address in range(0, 8 << 20, PAGE_SIZE)} == {-FaultReason.READ_NOT_ALLOWED}


def test_a_domain_id_comes_back_only_after_everything_was_forgotten(machine: Machine) -> None:
    driver = machine.driver
    driver.attach(NIC, driver.create_domain())
    driver.detach(NIC)
    ids = [1]
    driver.destroy_domain(1)
    for _ in range((1 << 16) - 2):
        ids.append(driver.create_domain())
        driver.destroy_domain(ids[-1])
    assert ids == list(range(1, 1 << 16))
    machine.memory.write(_context_entry(machine, NIC), (9 << 72 | 1 << 64 | 0b1001).to_bytes(16, "little"))
    assert machine.ask(0x5000) == 0x5000
    machine.memory.write(_context_entry(machine, NIC), bytes(16))
    assert machine.ask(0x5000) == 0x5000
    assert driver.create_domain() in ids
    assert machine.ask(0x5000) == -FaultReason.CONTEXT_NOT_PRESENT


def _context_entry(machine: Machine, bdf: Bdf) -> Hpa:
    """Where the unit looks, found from its own root table address."""
    root = machine.memory.read_u64(Hpa(UNIT + 0x20))
    table = machine.memory.read_u64(Hpa(root + bdf.bus * 16)) & ~1
    return Hpa(table + bdf.devfn * 16)


def test_a_domain_that_ended_gives_its_frames_back(machine: Machine) -> None:
    before = machine.frames.free_bytes
    domain = machine.driver.create_domain()
    machine.driver.map(domain, Iova(PAGE_SIZE), GUEST, 8 << 20)
    machine.driver.destroy_domain(domain)
    assert machine.frames.free_bytes == before


def test_an_interrupt_reaches_its_processor_until_it_is_taken_back(machine: Machine) -> None:
    address, data = machine.driver.map_interrupt(NIC, 0x41, 2)
    assert machine.unit.remap(NIC, address, data) == Interrupt(0x41, 2)
    assert isinstance(machine.unit.remap(DISPLAY, address, data), InterruptFault)
    machine.driver.map_interrupt(NIC, 0x42, 3)
    assert machine.unit.remap(NIC, address, data) == Interrupt(0x42, 3)
    machine.driver.unmap_interrupt(NIC)
    machine.driver.unmap_interrupt(NIC)
    assert isinstance(machine.unit.remap(NIC, address, data), InterruptFault)


def test_a_detached_function_raises_no_interrupt(machine: Machine, domain: int) -> None:
    address, data = machine.driver.map_interrupt(NIC, 0x41, 0)
    machine.driver.detach(NIC)
    assert isinstance(machine.unit.remap(NIC, address, data), InterruptFault)


def test_every_function_gets_an_interrupt_of_its_own(machine: Machine) -> None:
    functions = [Bdf(bus, 0, 0) for bus in range(256)]
    addresses = [machine.driver.map_interrupt(each, 0x41, 0)[0] for each in functions]
    assert all(after - before == 32 for before, after in pairwise(addresses))
    with pytest.raises(MappingRefused, match=r"^at most 256 functions must have an interrupt at a time$"):
        machine.driver.map_interrupt(Bdf(0, 1, 0), 0x41, 0)


def test_faults_are_read_once_and_recording_goes_on(machine: Machine, domain: int) -> None:
    address, data = machine.driver.map_interrupt(NIC, 0x41, 0)
    machine.ask(0x5000_0123, write=True)
    machine.unit.remap(DISPLAY, address, data)
    first, second = machine.driver.faults()
    assert first == FaultRecord(NIC, FaultReason.WRITE_NOT_ALLOWED, Iova(0x5000_0000), True)
    assert (str(first), str(second)) == (
        "DMA write by 02:00.0 at 0x50000000 blocked: write not allowed",
        "interrupt 0x0 by 00:02.0 blocked: source not verified",
    )
    assert machine.driver.faults() == ()
    machine.ask(0x6000_0000)
    assert [each.address for each in machine.driver.faults()] == [0x6000_0000]


def test_lost_records_are_known_and_recording_goes_on(machine: Machine) -> None:
    for bus in range(20):
        machine.ask(0, bdf=Bdf(bus, 0, 0))
    assert len(machine.driver.faults()) == 8
    assert machine.driver.records_lost
    machine.ask(0)
    assert len(machine.driver.faults()) == 1


def test_enabling_twice_is_refused(machine: Machine) -> None:
    with pytest.raises(MappingRefused, match=r"^remapping must be enabled once$"):
        machine.driver.enable()


def test_a_blocked_request_interrupts_processor_0_if_asked() -> None:
    machine = Machine(fault_vector=0x50)
    machine.ask(0)
    assert machine.unit.take_messages() == ((0xFEE0_0000, 0x50),)


class StandsStill:
    """A unit that has the capabilities and does nothing."""

    def __init__(self, capability: int, extended: int) -> None:
        self.registers = {0x08: capability & 0xFFFF_FFFF, 0x0C: capability >> 32, 0x10: extended}

    def mmio_read(self, offset: int, size: int) -> int:
        return self.registers.get(offset, 0)

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        pass


def broken(extended: int, sagaw: int = 4) -> RemappingDriver:
    memory = PhysicalMemory(1 << 24)
    memory.map_window(UNIT, PAGE_SIZE, StandsStill(sagaw << 8 | 6, extended))
    return RemappingDriver(memory, FrameAllocator(Hpa(0x10_0000), 1 << 20), UNIT)


def test_a_unit_that_does_not_follow_is_refused() -> None:
    message = r"^the remapping unit must follow GlobalCommand\(0x40000000: SRTP\), but GSTS does not$"
    with pytest.raises(UnitNotAnswering, match=message):
        broken(extended=0b1010).enable()


def test_a_unit_without_interrupt_remapping_is_refused() -> None:
    message = r"^the remapping unit must have queued invalidation and interrupt remapping$"
    with pytest.raises(PlatformUnable, match=message):
        broken(extended=0b0010).enable()


def test_a_unit_without_usable_tables_is_refused() -> None:
    message = r"^the remapping unit must support second-stage tables of 3, 4 or 5 levels$"
    with pytest.raises(PlatformUnable, match=message):
        broken(extended=0b1010, sagaw=0)


def test_an_invalidation_that_does_not_finish_is_refused(machine: Machine, domain: int) -> None:
    machine.memory.write_u64(Hpa(UNIT + 0x90), 1 << 40)
    with pytest.raises(
        UnitNotAnswering, match=r"^the remapping unit must finish an invalidation, but its queue stands still$"
    ):
        machine.driver.detach(NIC)


@pytest.mark.parametrize(
    ("iova", "hpa", "size", "message"),
    [
        (0x800, 0, 0x1000, r"a mapping must be whole 4 KiB pages, not 0x800 to 0x0\+0x1000"),
        (0, 0, 0, r"a mapping must be whole 4 KiB pages, not 0x0 to 0x0\+0x0"),
        (1 << 48, 0, 0x1000, r"a device address must fit 48 bits, not 0x1000000000000\+0x1000"),
        (0xFEE0_0000, 0, 0x1000, r"0xfee00000\+0x1000 must not touch the interrupt range at 0xfee00000"),
        (0, 0xFEDF_F000, 0x2000, r"0xfedff000\+0x2000 must not touch the interrupt range at 0xfee00000"),
    ],
)
def test_a_range_that_devices_cannot_have_is_refused(
    machine: Machine, iova: int, hpa: int, size: int, message: str
) -> None:
    domain = machine.driver.create_domain()
    with pytest.raises(MappingRefused, match=f"^{message}$"):
        machine.driver.map(domain, Iova(iova), Hpa(hpa), size)


def test_a_mapping_without_rights_is_refused(machine: Machine, domain: int) -> None:
    with pytest.raises(MappingRefused, match=r"^a mapping must allow reading, writing or both$"):
        machine.driver.map(domain, Iova(1 << 30), GUEST, PAGE_SIZE, read=False, write=False)


def test_mapping_what_is_mapped_is_refused(machine: Machine, domain: int) -> None:
    message = r"^device address 0x200000 must be unmapped before it is mapped again$"
    with pytest.raises(MappingRefused, match=message):
        machine.driver.map(domain, Iova(PAGE_SIZE_2M), GUEST, PAGE_SIZE)


def test_cutting_a_2_mib_page_is_refused(machine: Machine, domain: int) -> None:
    with pytest.raises(MappingRefused, match=r"^unmapping 0x0\+0x1000 must not cut a 2 MiB page in two$"):
        machine.driver.unmap(domain, Iova(0), PAGE_SIZE)


def test_unmapping_what_is_not_mapped_is_refused(machine: Machine, domain: int) -> None:
    message = r"^0x600000 bytes at 0x0 must be mapped to be unmapped, but 0x400000 are$"
    with pytest.raises(MappingRefused, match=message):
        machine.driver.unmap(domain, Iova(0), 6 << 20)


def test_ending_a_domain_in_use_is_refused(machine: Machine, domain: int) -> None:
    message = r"^domain 1 must have no functions when it ends, but has 02:00\.0$"
    with pytest.raises(MappingRefused, match=message):
        machine.driver.destroy_domain(domain)


def test_an_unknown_domain_is_refused(machine: Machine, domain: int) -> None:
    with pytest.raises(MappingRefused, match=r"^domain must be one of \[1\], not 7$"):
        machine.driver.attach(DISPLAY, 7)


@pytest.mark.parametrize(("vector", "destination"), [(0xF, 0), (0xFF, 0), (0x41, 255)])
def test_a_vector_that_no_device_may_have_is_refused(machine: Machine, vector: int, destination: int) -> None:
    message = rf"^an interrupt must be vector 16-254 on processor 0-254, not {vector} on {destination}$"
    with pytest.raises(MappingRefused, match=message):
        machine.driver.map_interrupt(NIC, vector, destination)


def test_devices_before_remapping_is_enabled_are_refused() -> None:
    driver = broken(extended=0b1010)
    with pytest.raises(MappingRefused, match=r"^remapping must be enabled before devices change hands$"):
        driver.map_interrupt(NIC, 0x41, 0)

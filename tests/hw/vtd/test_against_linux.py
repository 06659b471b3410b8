"""Tables that Linux's VT-d driver wrote, walked by us in a dump of its memory: what it mapped, and why it saw faults.

One boot of about ten seconds serves all tests here. The faults that the kernel logged are predicted from the tables.
"""

from __future__ import annotations

import re

import pytest

from tests.hw.vtd.linux_pc import AVAILABLE, CAP, ECAP, IRTA, RTADDR, UNIT, LinuxPc, boot
from vafw.acpi import ScopeType, decode_dmar, encode_dmar
from vafw.address import Bdf, Hpa
from vafw.errors import PlatformUnable
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd import FaultReason, TableRules
from vafw.hw.vtd.bits import Irte
from vafw.hw.vtd.context import Context, find_context
from vafw.hw.vtd.interrupt_remapping import InterruptTable, find_irte
from vafw.hw.vtd.registers import Capability, ExtendedCapability
from vafw.hw.vtd.second_level import Leaf, SecondLevel
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="qemu-system-x86_64 and dpkg-deb are not installed")

FAULT = re.compile(
    r"\[DMA (Read|Write) NO_PASID\] Request device \[(\S+)\] fault addr (0x\w+) \[fault reason (0x\w+)\]"
)


class Tables:
    """The walkers over one dump."""

    def __init__(self, pc: LinuxPc) -> None:
        raw = pc.memory.read_bytes()
        self.memory = PhysicalMemory(len(raw))
        for start in range(0, len(raw), 4096):
            if any(page := raw[start : start + 4096]):
                self.memory.write(Hpa(start), page)
        cap, ecap = Capability(pc.registers[CAP]), ExtendedCapability(pc.registers[ECAP])
        self.rules = TableRules.of(cap, ecap, host_address_bits=48)
        self.root = pc.registers[RTADDR]

    def context(self, rid: Bdf) -> Context:
        """The context of a function, which must have one."""
        found = find_context(self.memory, self.root, rid.requester_id, self.rules)
        assert isinstance(found, Context)
        return found

    def translate(self, rid: Bdf, iova: int, right: int) -> Leaf | Blocked:
        """Where an address leads, or why nowhere."""
        return SecondLevel(self.memory, self.rules).leaf(self.context(rid), iova, right)


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> LinuxPc:
    try:
        return boot(tmp_path_factory.mktemp("linux"))
    except PlatformUnable as error:
        pytest.skip(f"the guest's packages cannot be had: {error}")


@pytest.fixture(scope="module")
def tables(pc: LinuxPc) -> Tables:
    return Tables(pc)


def test_every_fault_that_the_kernel_logged_is_what_its_tables_say(pc: LinuxPc, tables: Tables) -> None:
    logged = [found.groups() for line in pc.seen["faults"] if (found := FAULT.match(line))]
    assert [(verb, int(address, 16)) for verb, _, address, _ in logged] == [
        ("Read", 0x10_0000),
        ("Write", 0x20_0000),
        ("Read", 0xFFFF_F000),
    ]
    for verb, device, address, reason in logged:
        answer = tables.translate(Bdf.parse(device), int(address, 16), READ if verb == "Read" else WRITE)
        assert answer == Blocked(FaultReason(int(reason, 16)))


def test_the_card_reaches_its_own_queues_and_its_neighbour_does_not(pc: LinuxPc, tables: Tables) -> None:
    nic, edu = Bdf.parse(pc.seen["nic"]), Bdf.parse(pc.seen["edu"])
    addresses = [address for queue in pc.seen["queues"] for address in queue]
    assert len(set(addresses)) == 6
    for address in addresses:
        assert isinstance(tables.translate(nic, address, READ), Leaf)
        assert isinstance(tables.translate(edu, address, READ), Blocked)


def test_what_stands_in_the_queues_leads_to_memory_that_the_driver_mapped(pc: LinuxPc, tables: Tables) -> None:
    nic = Bdf.parse(pc.seen["nic"])
    descriptors = tables.translate(nic, pc.seen["queues"][0][0], READ)
    assert isinstance(descriptors, Leaf)
    ring = tables.memory.read(Hpa(descriptors.frame), 16 * 16)
    buffers = [int.from_bytes(ring[at : at + 8], "little") for at in range(0, len(ring), 16)]
    mapped = [tables.translate(nic, address, WRITE) for address in buffers if address]
    assert mapped
    assert all(isinstance(each, Leaf) for each in mapped)


def test_each_function_of_a_group_of_its_own_has_a_domain_of_its_own(pc: LinuxPc, tables: Tables) -> None:
    groups = pc.seen["groups"]
    domains = {name: tables.context(Bdf.parse(name)).domain for name in groups}
    pairs = [(one, other) for one in groups for other in groups if one < other]
    assert all((domains[one] == domains[other]) == (groups[one] == groups[other]) for one, other in pairs)


def test_the_interrupts_of_the_card_may_be_used_by_it_alone(pc: LinuxPc, tables: Tables) -> None:
    value = pc.registers[IRTA]
    table = InterruptTable(value & ~0xFFF, 2 << (value & 0xF), extended=bool(value >> 11 & 1))
    entries = [find_irte(tables.memory, table, index, tables.rules) for index in range(256)]
    live = [entry for entry in entries if isinstance(entry, int)]
    sources = {Bdf.from_requester_id(Irte.SID.get(entry)) for entry in live if Irte.SVT.get(entry) == 1}
    assert len(live) >= 4
    assert Bdf.parse(pc.seen["nic"]) in sources
    assert all(Irte.SVT.get(entry) == 1 for entry in live)


def test_the_firmwares_dmar_table_is_read_and_written_again_unchanged(pc: LinuxPc) -> None:
    raw = bytes.fromhex(pc.seen["dmar"])
    table = decode_dmar(raw)
    assert encode_dmar(table) == raw
    assert [unit.base for unit in table.units] == [UNIT]
    assert ScopeType.IOAPIC in {scope.kind for unit in table.units for scope in unit.scopes}

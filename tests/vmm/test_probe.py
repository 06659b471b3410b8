"""Isolation probes: every attempt is blocked on a good machine, and an open one is told as open."""

from __future__ import annotations

from tests.vmm.pc import DISPLAY, MIB, NIC, Pc, build_pc, idles
from vafw.address import Gpa, Hpa, Iova
from vafw.vmm.probe import run_probes
from vafw.vmm.vm import VmState


def running_pc() -> Pc:
    pc = build_pc()
    for name, size in (("firewall", 64), ("user-os", 512)):
        pc.vmm.create_vm(name, size * MIB)
    pc.vmm.assign("firewall", NIC, name="nic", port="outside")
    pc.vmm.assign("user-os", DISPLAY, name="display")
    for name in ("firewall", "user-os"):
        pc.vmm.start(name, idles)
    pc.vmm.run_until_idle()
    return pc


def test_every_attempt_is_blocked_with_evidence_and_nothing_is_the_worse_for_it() -> None:
    pc = running_pc()
    free = pc.frames.free_bytes
    results = run_probes(pc.vmm)
    assert [each for each in results if not each.blocked] == []
    assert all(each.evidence for each in results)
    assert {each.name for each in results} == {
        "guest read",
        "guest write",
        "dma read",
        "dma write",
        "msi in compatibility format",
        "msi of another function",
        "msi of an unused index",
        "msi with another vector",
    }
    assert {each.actor for each in results} == {"firewall", "user-os", "nic", "display"}
    assert pc.frames.free_bytes == free
    assert [vm.state for vm in pc.vmm.vms] == [VmState.RUNNING, VmState.RUNNING]


def test_memory_of_another_that_a_guest_can_reach_is_told() -> None:
    pc = running_pc()
    firewall, user_os = pc.vmm.vm("firewall"), pc.vmm.vm("user-os")
    hole = Hpa(user_os.ranges[0].hpa + 0x10_0000)
    firewall.tables.map(Gpa(hole), hole, 4096)
    opened = [(each.name, each.actor, each.target) for each in run_probes(pc.vmm) if not each.blocked]
    assert opened == [
        ("guest read", "firewall", "memory of user-os"),
        ("guest write", "firewall", "memory of user-os"),
    ]


def test_memory_of_another_that_a_device_can_reach_is_told() -> None:
    pc = running_pc()
    domain = pc.vmm.vm("firewall").domain
    assert domain is not None
    hole = Hpa(pc.vmm.vm("user-os").ranges[0].hpa + 0x10_0000)
    pc.remapping.map(domain, Iova(hole), hole, 4096)
    opened = [(each.name, each.actor, each.target) for each in run_probes(pc.vmm) if not each.blocked]
    assert opened == [("dma read", "nic", "memory of user-os"), ("dma write", "nic", "memory of user-os")]

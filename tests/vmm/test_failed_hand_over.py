"""A VM whose function could not be taken back: nothing of it is given to anybody (QSB-058, 069; case E10)."""

from __future__ import annotations

import pytest

from tests.vmm.pc import DISPLAY, MIB, NIC, UNIT, Pc, build_pc
from vafw.address import Hpa, Iova
from vafw.hw.vtd import DmaFault
from vafw.vmm.hand_over import HandOverFailed
from vafw.vmm.refusal import VmmError
from vafw.vmm.vm import Vm

QUEUE_ADDRESS = Hpa(UNIT + 0x90)
NOWHERE = 1 << 40


def broken_release() -> tuple[Pc, Vm, int, int]:
    """VM a has NIC and display; its flush is lost, since the invalidation queue is nowhere. Also: free bytes, queue."""
    pc = build_pc()
    vm = pc.vmm.create_vm("a", 32 * MIB)
    pc.vmm.assign("a", NIC, name="nic", port="wire")
    pc.vmm.assign("a", DISPLAY, name="display")
    vm.memory.write(0x20_0000, b"secret")
    assert pc.root_complex.dma_read(NIC, Iova(0x20_0000), 6) == b"secret"
    queue, free = pc.memory.read_u64(QUEUE_ADDRESS), pc.frames.free_bytes
    pc.memory.write_u64(QUEUE_ADDRESS, NOWHERE)
    with pytest.raises(HandOverFailed, match=r"^function 02:00\.0 must change hands completely or not at all"):
        pc.vmm.stop("a")
    return pc, vm, free, queue


def test_memory_that_a_function_may_still_reach_stays_out_of_use() -> None:
    pc, vm, free, _ = broken_release()
    assert pc.frames.free_bytes == free
    assert pc.root_complex.dma_read(NIC, Iova(0x20_0000), 6) == b"secret"
    other = pc.vmm.create_vm("b", 32 * MIB)
    own = [(each.hpa, each.hpa + each.size) for each in vm.ranges]
    assert not any(low < each.hpa + each.size and each.hpa < high for low, high in own for each in other.ranges)


def test_every_function_of_the_vm_is_cut_off_even_where_the_first_one_failed() -> None:
    pc, _, _, _ = broken_release()
    assert not pc.nic.config.bus_master
    assert not pc.display.config.bus_master
    assert isinstance(pc.nic.dma_write(0x20_0000, b"x"), DmaFault)
    assert isinstance(pc.display.dma_write(0x20_0000, b"x"), DmaFault)


def test_nobody_gets_the_function_while_the_unit_does_not_answer() -> None:
    pc, _, _, _ = broken_release()
    pc.vmm.create_vm("b", 32 * MIB)
    with pytest.raises(VmmError, match=r"^function 02:00\.0 must change hands completely or not at all"):
        pc.vmm.assign("b", NIC, name="nic", port="wire")
    assert not pc.nic.config.bus_master


def test_when_the_unit_answers_again_the_function_is_given_out_and_reaches_its_new_owner_only() -> None:
    pc, _, _, queue = broken_release()
    pc.memory.write_u64(QUEUE_ADDRESS, queue)
    other = pc.vmm.create_vm("b", 32 * MIB)
    pc.vmm.assign("b", NIC, name="nic", port="wire")
    assert pc.root_complex.dma_read(NIC, Iova(0x20_0000), 6) == bytes(6)
    assert pc.nic.dma_write(0x20_0000, b"mine") is None
    assert other.memory.read(0x20_0000, 4) == b"mine"

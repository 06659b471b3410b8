"""One virtual function to one VM, another to another: each reaches its own VM's memory and nothing else."""

from __future__ import annotations

import pytest

from tests.vmm.pc import MIB, NIC, build_pc
from vafw.address import Bdf, Iova
from vafw.hw.pci import NetworkCard
from vafw.hw.vtd import DmaFault
from vafw.vmm.refusal import VmmError
from vafw.vmm.virtual_functions import show_virtual_functions

CARD = Bdf(3, 0, 0)
MACS = [bytes.fromhex(f"5254000000{number:02x}") for number in range(3)]


def test_each_virtual_function_reaches_its_own_vm_alone() -> None:
    pc = build_pc()
    pc.root_complex.attach(NetworkCard(CARD, pc.root_complex, MACS[0], virtual_macs=MACS[1:]))
    first, second = show_virtual_functions(pc.root_complex, CARD, 2)
    one, other = pc.vmm.create_vm("one", 32 * MIB), pc.vmm.create_vm("other", 32 * MIB)
    pc.vmm.assign("one", first, name="vf0")
    pc.vmm.assign("other", second, name="vf1")
    virtual = {each.bdf: each for each in pc.root_complex.functions}
    assert virtual[first].dma_write(0x20_0000, b"to one") is None
    assert virtual[second].dma_write(0x20_0000, b"to other") is None
    assert (one.memory.read(0x20_0000, 8), other.memory.read(0x20_0000, 8)) == (b"to one\0\0", b"to other")
    assert isinstance(virtual[first].dma_write(64 * MIB, b"beyond"), DmaFault)
    assert isinstance(pc.root_complex.dma_write(CARD, Iova(0x20_0000), b"physical"), DmaFault)


def test_a_vm_that_ends_gives_its_virtual_function_back() -> None:
    pc = build_pc()
    pc.root_complex.attach(NetworkCard(CARD, pc.root_complex, MACS[0], virtual_macs=MACS[1:]))
    first, _ = show_virtual_functions(pc.root_complex, CARD, 2)
    pc.vmm.create_vm("one", 32 * MIB)
    pc.vmm.assign("one", first, name="vf0")
    pc.vmm.stop("one")
    assert pc.remapping.domain_of(first) is None
    pc.vmm.create_vm("two", 32 * MIB)
    pc.vmm.assign("two", first, name="vf0")


@pytest.mark.parametrize("number", [0, 3])
def test_an_impossible_number_of_virtual_functions_is_refused(number: int) -> None:
    pc = build_pc()
    pc.root_complex.attach(NetworkCard(CARD, pc.root_complex, MACS[0], virtual_macs=MACS[1:]))
    with pytest.raises(VmmError, match=rf"^function 03:00.0 must show 1 to 2 virtual functions, not {number}$"):
        show_virtual_functions(pc.root_complex, CARD, number)


def test_a_card_without_virtual_functions_is_refused() -> None:
    with pytest.raises(VmmError, match=r"^function 02:00.0 must have virtual functions, and it has no SR-IOV$"):
        show_virtual_functions(build_pc().root_complex, NIC, 1)

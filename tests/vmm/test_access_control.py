from __future__ import annotations

from tests.hw.pci.test_fabric import CARD, DOWN, DOWN_BESIDE, EVIL, ROOT, pc_with_a_switch
from vafw.address import Iova
from vafw.fabric import ISOLATING, Acs
from vafw.hw.vtd import Completion, DmaFault
from vafw.vmm.access_control import enable_access_control


def test_every_port_isolates_after_boot() -> None:
    pc = pc_with_a_switch()
    assert enable_access_control(pc.root_complex) == (ROOT, DOWN, DOWN_BESIDE)
    assert all(ISOLATING in pc.function(port).acs for port in (ROOT, DOWN, DOWN_BESIDE))
    iova = Iova(pc.root_complex.bar(CARD))
    assert pc.root_complex.dma_read(EVIL, iova, 4) == DmaFault(EVIL, iova, False, Completion.UNSUPPORTED_REQUEST)


def test_a_machine_without_such_services_has_none_to_turn_on() -> None:
    assert enable_access_control(pc_with_a_switch(Acs.NONE).root_complex) == ()

"""SR-IOV at boot: the VMM makes a card show its virtual functions, which are assigned like any others afterwards.

The physical function stays the VMM's: it makes them vanish, and its bridge joins them all. Whoever gives two of them to
different VMs has to know that these VMs reach each other through the card (`vafw.hw.pci.embedded_switch`).
"""

from __future__ import annotations

from vafw.address import Bdf
from vafw.hw.pci.root_complex import RootComplex
from vafw.hw.pci.sriov import SRIOV_CAPABILITY, SriovControl, SriovRegister
from vafw.vmm.refusal import VmmError


def show_virtual_functions(root_complex: RootComplex, physical: Bdf, number: int) -> tuple[Bdf, ...]:
    """Let a card show `number` virtual functions and decode their registers; returns where they are.

    VmmError where the card cannot: nothing of it is left turned on then.
    """
    function = next((each for each in root_complex.functions if each.bdf == physical), None)
    at = function.config.capability(SRIOV_CAPABILITY) if function is not None else None
    if at is None:
        raise VmmError(f"function {physical} must have virtual functions, and it has no SR-IOV")
    total = root_complex.config_read(physical, at + SriovRegister.TOTAL_VFS, 2)
    if not 0 < number <= total:
        raise VmmError(f"function {physical} must show 1 to {total} virtual functions, not {number}")
    before = {each.bdf for each in root_complex.functions}
    root_complex.config_write(physical, at + SriovRegister.CONTROL, 2, 0)
    root_complex.config_write(physical, at + SriovRegister.NUM_VFS, 2, number)
    root_complex.config_write(physical, at + SriovRegister.VF_BAR0, 4, root_complex.reserve_window(number))
    root_complex.config_write(physical, at + SriovRegister.CONTROL, 2, SriovControl.pack(VF_ENABLE=1, VF_MSE=1))
    return tuple(each.bdf for each in root_complex.functions if each.bdf not in before)

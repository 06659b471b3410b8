"""The VMM of the modelled PC: VMs, their memory and links, assigned functions, and proof that none reaches another."""

from vafw.vmm.hypercall import Hypercall, Status
from vafw.vmm.link import Link
from vafw.vmm.probe import ProbeResult, run_probes
from vafw.vmm.record import VmmRecord
from vafw.vmm.refusal import VmmError
from vafw.vmm.vm import GuestHealth, Vector, Vm, VmState
from vafw.vmm.vmm import Vmm

__all__ = [
    "Vmm",
    "Vm",
    "VmState",
    "Vector",
    "GuestHealth",
    "Link",
    "VmmRecord",
    "ProbeResult",
    "run_probes",
    "Hypercall",
    "Status",
    "VmmError",
]

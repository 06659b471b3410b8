"""What every picture of a plan shows, before any of them decides how: names, captions, and what is joined to what."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.machine.inventory import PciFunction
from vafw.plan.plan import LinkPlan, Plan, VmPlan, VmRole
from vafw.plan.quantity import size


def share(vm: VmPlan) -> str:
    """What a VM is given: ``256 MiB, 1 vCPU``."""
    return f"{size(vm.memory_bytes)}, {vm.vcpus} vCPU{'' if vm.vcpus == 1 else 's'}"


def function_caption(function: PciFunction) -> str:
    """Where a function sits and what it is for: ``02:00.0 network``."""
    return f"{function.bdf} {function.device_class}"


@dataclass(frozen=True, slots=True)
class Outline:
    """A plan sorted the way pictures want it."""

    wire: PciFunction
    """The network function that the path begins with."""
    path: tuple[VmPlan, ...]
    """The VMs of the path, from the wire inwards."""
    beside: tuple[VmPlan, ...]
    """VMs that traffic does not pass through."""
    path_links: tuple[LinkPlan, ...]
    """The link between each VM of the path and the next."""
    beside_links: tuple[LinkPlan, ...]
    """Every other link."""
    further_wires: tuple[PciFunction, ...] = ()
    """Network functions that are further ways to a wire."""


def outline(plan: Plan) -> Outline:
    """Sort the parts of `plan`."""
    path = tuple(plan.vm(name) for name in plan.path[1:])
    further = {each.function for each in plan.uplinks}
    neighbours = set(zip(plan.path[1:], plan.path[2:], strict=False))
    path_links: dict[tuple[str, str], LinkPlan] = {}
    for link in plan.links:
        ends = (link.outer.vm, link.inner.vm)
        if ends in neighbours:
            path_links.setdefault(ends, link)
    return Outline(
        wire=plan.wire,
        path=path,
        beside=tuple(vm for vm in plan.vms if vm not in path),
        path_links=tuple(path_links.values()),
        beside_links=tuple(link for link in plan.links if link not in path_links.values()),
        further_wires=tuple(each for vm in plan.vms for each in vm.functions if each.name in further),
    )


def is_user_os(vm: VmPlan) -> bool:
    """Whether a person sits at this VM."""
    return vm.role is VmRole.USER_OS

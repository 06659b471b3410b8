"""What the machine has to offer: memory, vCPUs, remapping, TXT and a TPM."""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import is_written, span_at
from vafw.plan.quantity import size
from vafw.plan.roster import roster, router_of


def memory_suffices(documents: DocumentSet) -> Iterator[Diagnostic]:
    """All VMs and the VMM fit into the machine's memory."""
    machine = documents.machine
    uses = roster(documents)
    needed = machine.model.vmm_memory + sum(use.memory_bytes for use in uses)
    if needed > machine.model.memory > machine.model.vmm_memory:
        largest = max(uses, key=lambda use: use.memory_bytes)
        shares = [*(f"{use.name} {size(use.memory_bytes)}" for use in uses), f"VMM {size(machine.model.vmm_memory)}"]
        yield Diagnostic(
            "VAFW-T050",
            f"all VMs and the VMM must fit into {size(machine.model.memory)}, and they take {size(needed)}",
            span_at(documents.topology, *largest.place, "memory"),
            "the largest share",
            related=(Label(span_at(machine, "memory"), "the memory of the machine"),),
            notes=(f"shares: {', '.join(shares)}",),
            hint=f"save {size(needed - machine.model.memory)} somewhere",
        )


def vcpus_suffice(documents: DocumentSet) -> Iterator[Diagnostic]:
    """All vCPUs together are no more than the machine's."""
    machine = documents.machine
    uses = roster(documents)
    needed = sum(use.vcpus for use in uses)
    if needed > machine.model.vcpus:
        largest = max(uses, key=lambda use: use.vcpus)
        yield Diagnostic(
            "VAFW-T051",
            f"all VMs together must have at most {machine.model.vcpus} vCPUs, and they have {needed}",
            span_at(documents.topology, *largest.place, "vcpus"),
            "the largest share",
            related=(Label(span_at(machine, "vcpus"), "the logical processors of the machine"),),
            notes=(f"shares: {', '.join(f'{use.name} {use.vcpus}' for use in uses)}",),
            hint=f"save {needed - machine.model.vcpus} somewhere",
        )


def minimum_memory_is_given(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Each VM has the least memory that its image runs in."""
    for use in roster(documents):
        if use.manifest is not None and use.memory_bytes < use.manifest.minimum_memory:
            least = size(use.manifest.minimum_memory)
            yield Diagnostic(
                "VAFW-T052",
                f"'{use.name}' must have at least {least}, not {size(use.memory_bytes)}",
                span_at(documents.topology, *use.place, "memory"),
                related=(Label(span_at(documents.appliances[use.image], "minimum-memory"), "what the image needs"),),
                hint=f"give it memory: {least}",
            )


def a_measured_launch_is_possible(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The machine has TXT and a TPM: every policy asks for a measured launch."""
    machine, policy = documents.machine, documents.policy
    asked = (Label(policy.key_at("launch"), "the policy's launch"),) if is_written(policy, "launch") else ()
    for code, key, holds, name in (
        ("VAFW-M001", "txt", machine.model.txt, "Intel TXT"),
        ("VAFW-M002", "tpm", machine.model.tpm, "a TPM"),
    ):
        if not holds:
            yield Diagnostic(
                code,
                f"the machine must have {name} for a measured launch",
                span_at(machine, key),
                related=asked,
                hint="turn it on in the firmware, or use another machine",
            )


def required_hardware_is_there(documents: DocumentSet) -> Iterator[Diagnostic]:
    """What the policy requires of the hardware, the machine has, whether or not anything is assigned."""
    iommu = documents.machine.model.iommu
    anything_assigned = any(use.assign for use in roster(documents))
    has = {"dma-remapping": iommu.dma_remapping, "interrupt-remapping": iommu.interrupt_remapping}
    for index, rule in enumerate(documents.policy.model.devices):
        if rule.require is not None and not has[rule.require] and not anything_assigned:
            yield Diagnostic(
                "VAFW-M004" if rule.require == "interrupt-remapping" else "VAFW-M003",
                f"the machine must have {rule.require}",
                span_at(documents.machine, "iommu", rule.require),
                related=(Label(span_at(documents.policy, "devices", index), "the policy requires it"),),
                hint="turn VT-d and its interrupt remapping on in the firmware, or use another machine",
            )


def the_vmm_fits(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The VMM leaves memory for VMs."""
    machine = documents.machine
    if machine.model.vmm_memory >= machine.model.memory:
        yield Diagnostic(
            "VAFW-M007",
            f"the VMM must leave memory for VMs, and it takes {size(machine.model.vmm_memory)} "
            f"of {size(machine.model.memory)}",
            span_at(machine, "vmm-memory"),
            related=(Label(span_at(machine, "memory"), "the memory of the machine"),),
            hint="correct memory or vmm-memory",
        )


def the_wire_has_a_mac(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The function that the path begins with has a MAC address, and so has the card of every uplink."""
    path = documents.topology.model.path
    yield from _uplinks_without_mac(documents)
    for name, device in documents.machine.model.devices.items():
        if device.mac is None and path and name == path[0] and device.class_ == "network":
            yield Diagnostic(
                "VAFW-M008",
                f"the network function '{name}', which the path begins with, must have a MAC address",
                documents.machine.key_at("devices", name),
                "no mac is given",
                related=(Label(span_at(documents.topology, "path", 0), "the path begins with it"),),
                hint='the user OS takes it over: write the card\'s own, such as mac: "52:54:00:12:34:56"',
            )


def _uplinks_without_mac(documents: DocumentSet) -> Iterator[Diagnostic]:
    devices, router = documents.machine.model.devices, router_of(documents)
    for index, uplink in enumerate(router.router.uplinks if router is not None and router.router is not None else ()):
        assert router is not None
        if uplink.nic in devices and devices[uplink.nic].mac is None:
            place: tuple[str | int, ...] = (*router.place, "router", "uplinks", index, "nic")
            yield Diagnostic(
                "VAFW-M008",
                f"the network function '{uplink.nic}', which is an uplink, must have a MAC address",
                documents.machine.key_at("devices", uplink.nic),
                "no mac is given",
                related=(Label(span_at(documents.topology, *place), "the router speaks by it"),),
                hint='write the card\'s own, such as mac: "52:54:00:12:34:56"',
            )

"""A machine document's devices as a fabric: what stands behind which port, and which groups follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vafw.address import Bdf
from vafw.document.machine import Machine
from vafw.fabric import ISOLATING, Acs, Fabric, Place, PortKind, iommu_groups

PORTS: Final = {
    "root-port": PortKind.ROOT_PORT,
    "upstream-port": PortKind.UPSTREAM,
    "downstream-port": PortKind.DOWNSTREAM,
    "pci-bridge": PortKind.PCIE_TO_PCI,
}
"""What documents call the kinds of port."""


def is_behind_ports(machine: Machine) -> bool:
    """Every `behind` names a port, and none stands behind itself."""
    for name in machine.devices:
        above, seen = machine.devices[name].behind, {name}
        while above is not None:
            if above in seen or above not in machine.devices or machine.devices[above].port is None:
                return False
            seen.add(above)
            above = machine.devices[above].behind
    return True


def computed_groups(machine: Machine) -> Mapping[str, int]:
    """The group of every device by name, as ports and access control make it; needs `is_behind_ports`."""
    addresses = {name: Bdf.parse(device.address) for name, device in machine.devices.items()}
    groups = iommu_groups(
        Fabric(
            Place(
                addresses[name],
                addresses[device.behind] if device.behind is not None else None,
                PORTS[device.port] if device.port is not None else None,
                ISOLATING if device.acs else Acs.NONE,
            )
            for name, device in machine.devices.items()
        )
    )
    return {name: groups[address] for name, address in addresses.items()}

"""How PCI functions are plugged together: the way up, requester ids, access control, and the groups that follow."""

from vafw.fabric.acs import ISOLATING, Acs
from vafw.fabric.groups import iommu_groups
from vafw.fabric.topology import Fabric, Place, PortKind

__all__ = ["Fabric", "Place", "PortKind", "iommu_groups", "Acs", "ISOLATING"]

from __future__ import annotations

import pytest

from vafw.address import Bdf
from vafw.hw.pci.groups import TopologyNode, iommu_groups

PORT, SWITCH = Bdf(0, 0x1C, 0), Bdf(0, 0x1D, 0)
NIC, SECOND = Bdf(2, 0, 0), Bdf(2, 0, 1)


def test_functions_on_the_root_bus_are_groups_of_their_own() -> None:
    nodes = [TopologyNode(Bdf(0, 2, 0)), TopologyNode(Bdf(0, 0x1F, 3))]
    assert iommu_groups(nodes) == {Bdf(0, 2, 0): 0, Bdf(0, 0x1F, 3): 1}


def test_functions_of_one_device_share_a_group() -> None:
    groups = iommu_groups([TopologyNode(SECOND), TopologyNode(NIC), TopologyNode(Bdf(0, 2, 0))])
    assert groups == {Bdf(0, 2, 0): 0, NIC: 1, SECOND: 1}


def test_functions_that_isolate_do_not_share() -> None:
    groups = iommu_groups([TopologyNode(NIC, acs=True), TopologyNode(SECOND, acs=True)])
    assert groups[NIC] != groups[SECOND]


def test_a_port_that_isolates_is_apart_from_what_is_below_it() -> None:
    groups = iommu_groups([TopologyNode(PORT, acs=True), TopologyNode(NIC, PORT)])
    assert groups[PORT] != groups[NIC]


def test_a_port_that_does_not_isolate_joins_everything_below_it() -> None:
    below = Bdf(3, 0, 0)
    groups = iommu_groups(
        [TopologyNode(PORT), TopologyNode(NIC, PORT), TopologyNode(below, PORT), TopologyNode(SWITCH)]
    )
    assert groups == {PORT: 0, SWITCH: 1, NIC: 0, below: 0}


def test_a_missing_port_is_refused() -> None:
    message = r"^function 02:00\.0 must be below a port of the topology, not 00:1c\.0$"
    with pytest.raises(ValueError, match=message):
        iommu_groups([TopologyNode(NIC, PORT)])

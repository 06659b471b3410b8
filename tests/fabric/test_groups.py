from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import Bdf
from vafw.fabric import ISOLATING, Acs, Fabric, Place, PortKind, iommu_groups

ROOT, UP = Bdf(0, 0x1C, 0), Bdf(1, 0, 0)
DOWN, DOWN_BESIDE = Bdf(2, 0, 0), Bdf(2, 1, 0)
NIC, BESIDE = Bdf(3, 0, 0), Bdf(4, 0, 0)
DISPLAY, SOUND = Bdf(0, 2, 0), Bdf(0, 0x1F, 3)


def switch(root: Acs, down: Acs, beside: Acs) -> list[Place]:
    """A root port, a switch below it, and a device below each of its two downstream ports."""
    return [
        Place(ROOT, None, PortKind.ROOT_PORT, root),
        Place(UP, ROOT, PortKind.UPSTREAM),
        Place(DOWN, UP, PortKind.DOWNSTREAM, down),
        Place(DOWN_BESIDE, UP, PortKind.DOWNSTREAM, beside),
        Place(NIC, DOWN),
        Place(BESIDE, DOWN_BESIDE),
    ]


def together(places: list[Place], one: Bdf, other: Bdf) -> bool:
    groups = iommu_groups(Fabric(places))
    return groups[one] == groups[other]


def test_functions_on_the_root_bus_are_groups_of_their_own() -> None:
    assert iommu_groups(Fabric([Place(SOUND), Place(DISPLAY)])) == {DISPLAY: 0, SOUND: 1}


def test_functions_of_one_device_share_a_group() -> None:
    second = Bdf(0, 2, 1)
    assert iommu_groups(Fabric([Place(second), Place(DISPLAY), Place(SOUND)])) == {DISPLAY: 0, second: 0, SOUND: 1}


def test_functions_of_one_device_that_isolate_do_not_share() -> None:
    second = Bdf(0, 2, 1)
    assert not together([Place(DISPLAY, acs=ISOLATING), Place(second, acs=ISOLATING)], DISPLAY, second)


def test_a_function_that_isolates_is_still_reached_by_those_that_do_not() -> None:
    second, third = Bdf(0, 2, 1), Bdf(0, 2, 2)
    places = [Place(DISPLAY, acs=ISOLATING), Place(second), Place(third)]
    assert Fabric(places).peers(DISPLAY) == frozenset()
    assert iommu_groups(Fabric(places)) == {DISPLAY: 0, second: 0, third: 0}


def test_below_a_switch_that_isolates_everything_is_apart() -> None:
    groups = iommu_groups(Fabric(switch(ISOLATING, ISOLATING, ISOLATING)))
    assert len(set(groups.values())) == 6


def test_a_downstream_port_without_access_control_lets_what_is_below_it_reach_the_others() -> None:
    places = switch(ISOLATING, ISOLATING, Acs.NONE)
    assert Fabric(places).peers(BESIDE) == {NIC}
    assert together(places, NIC, BESIDE)


def test_a_root_port_without_access_control_joins_all_that_is_below_it() -> None:
    groups = iommu_groups(Fabric(switch(Acs.NONE, ISOLATING, ISOLATING)))
    assert set(groups.values()) == {0}


def test_every_required_service_is_needed() -> None:
    for service in (Acs.SOURCE_VALIDATION, Acs.REQUEST_REDIRECT, Acs.COMPLETION_REDIRECT, Acs.UPSTREAM_FORWARDING):
        assert together(switch(ISOLATING, ISOLATING & ~service, ISOLATING), NIC, DOWN)


def test_devices_on_a_conventional_bus_share_the_bridge_that_speaks_for_them() -> None:
    first, second = Bdf(5, 3, 0), Bdf(5, 4, 0)
    bridge = Place(Bdf(4, 0, 0), ROOT, PortKind.PCIE_TO_PCI)
    places = [
        Place(ROOT, None, PortKind.ROOT_PORT, ISOLATING),
        bridge,
        Place(first, bridge.bdf),
        Place(second, bridge.bdf),
    ]
    assert iommu_groups(Fabric(places)) == {ROOT: 0, bridge.bdf: 1, first: 1, second: 1}
    assert Fabric(places).seen_as(second) == Bdf(5, 0, 0)


def test_a_device_with_phantom_functions_shares_with_whoever_has_one_of_their_ids() -> None:
    places = [Place(Bdf(0, 3, 0), acs=ISOLATING, phantom_bits=1), Place(Bdf(0, 3, 4), acs=ISOLATING)]
    assert Fabric(places).requester_ids(Bdf(0, 3, 0)) == (Bdf(0, 3, 0), Bdf(0, 3, 4))
    assert together(places, Bdf(0, 3, 0), Bdf(0, 3, 4))


def test_virtual_functions_of_a_single_function_device_are_groups_of_their_own() -> None:
    first, second = Bdf(3, 0, 1), Bdf(3, 0, 2)
    root = Place(ROOT, None, PortKind.ROOT_PORT, ISOLATING)
    places = [root, Place(NIC, ROOT), Place(first, ROOT, physical=NIC), Place(second, ROOT, physical=NIC)]
    assert len(set(iommu_groups(Fabric(places)).values())) == 4


acs = st.integers(0, 31).map(Acs)


@given(acs, acs, acs)
def test_whoever_reaches_another_past_the_root_complex_shares_its_group(root: Acs, down: Acs, beside: Acs) -> None:
    fabric = Fabric(switch(root, down, beside))
    groups = iommu_groups(fabric)
    assert all(groups[one] == groups[other] for one in (NIC, BESIDE) for other in fabric.peers(one))


def test_a_port_that_is_missing_is_refused() -> None:
    message = r"^function 03:00\.0 must be below a port of the topology, not 00:1c\.0$"
    with pytest.raises(ValueError, match=message):
        Fabric([Place(NIC, ROOT)])


def test_two_functions_at_one_address_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^every function must have an address of its own$"):
        Fabric([Place(NIC), Place(NIC)])

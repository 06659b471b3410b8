"""IOMMU groups: which functions the remapping unit cannot keep apart, and so change hands together.

Three things join functions: a port that may turn a request round below itself, a device with several functions that may
pass requests among themselves, and a requester id that two share. Access Control Services rule the first two out where
they are in force (`vafw.fabric.acs.ISOLATING`); against the third there is no remedy but another slot.

Stricter than Linux in one point: who can reach another past the root complex shares its group even where the other's
own port isolates, as below a switch of which only some ports do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vafw.address import Bdf
from vafw.fabric.acs import ISOLATING
from vafw.fabric.topology import Fabric, Place, PortKind


def iommu_groups(fabric: Fabric) -> Mapping[Bdf, int]:
    """Every function's group; groups are numbered from 0 in the order of their first functions."""
    leader = {bdf: bdf for bdf in fabric.places}

    def join(one: Bdf, other: Bdf) -> None:
        first, second = sorted((leader[one], leader[other]))
        for bdf, led_by in leader.items():
            if led_by == second:
                leader[bdf] = first

    owners: dict[Bdf, Bdf] = {}
    for place in fabric.places.values():
        for other in (*_ports_joined(fabric, place), *fabric.peers(place.bdf)):
            join(place.bdf, other)
        for requester_id in fabric.requester_ids(place.bdf) if place.port is None else ():
            join(place.bdf, owners.setdefault(requester_id, place.bdf))
    numbers = {bdf: number for number, bdf in enumerate(dict.fromkeys(leader[bdf] for bdf in fabric.places))}
    return {bdf: numbers[leader[bdf]] for bdf in fabric.places}


def _ports_joined(fabric: Fabric, place: Place) -> Iterator[Bdf]:
    """The ports from the nearest up to the topmost that does not isolate: nothing below that one is apart."""
    path = tuple(fabric.path(place.bdf))
    open_ports = [number for number, port in enumerate(path) if not _isolates(fabric, port)]
    return (port.bdf for port in path[: open_ports[-1] + 1]) if open_ports else iter(())


def _isolates(fabric: Fabric, place: Place) -> bool:
    """Nothing that passes this function turns round in it."""
    if place.port is PortKind.PCIE_TO_PCI:
        return False
    if place.port in {PortKind.ROOT_PORT, PortKind.DOWNSTREAM}:
        return ISOLATING in place.acs
    return len(fabric.device(place)) == 1 or ISOLATING in place.acs

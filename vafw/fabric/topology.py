"""The way from a function to the root complex: through which ports, under which requester id, and what turns off.

The remapping unit guards the root complex. A request that a switch, a conventional bus or a device with several
functions turns round below it never comes past the unit: such are the `peers` of a function. The hard part is that the
unit knows a request only by its requester id, which a bridge to a conventional bus replaces by its own, and which a
device may use several of (phantom functions): `requester_ids` are all that must be given to one owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import final

from vafw.address import Bdf
from vafw.fabric.acs import ISOLATING, Acs


class PortKind(IntEnum):
    """Device/Port Type (PCI Express Base Specification, "PCI Express Capabilities Register")."""

    ROOT_PORT = 4
    UPSTREAM = 5
    DOWNSTREAM = 6
    PCIE_TO_PCI = 7


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A function or port as the fabric sees it."""

    bdf: Bdf
    upstream: Bdf | None = None
    """The port above it; None on the root complex's own bus."""
    port: PortKind | None = None
    """What kind of port it is; None for an endpoint."""
    acs: Acs = Acs.NONE
    """The services in force, of a port or of one function of several."""
    physical: Bdf | None = None
    """The physical function of a virtual one."""
    phantom_bits: int = 0
    """How many of the highest bits of its function number a device may vary, 0 to 3."""


@final
class Fabric:
    """Every function of a PC, and the ports between them."""

    def __init__(self, places: Iterable[Place]) -> None:
        """ValueError for a function below something that is no port, or that is there twice."""
        ordered = sorted(places, key=lambda place: place.bdf)
        self.places: Mapping[Bdf, Place] = {place.bdf: place for place in ordered}
        if len(self.places) < len(ordered):
            raise ValueError("every function must have an address of its own")
        for place in ordered:
            above = self.places.get(place.upstream) if place.upstream is not None else None
            if place.upstream is not None and (above is None or above.port is None):
                raise ValueError(f"function {place.bdf} must be below a port of the topology, not {place.upstream}")

    def path(self, bdf: Bdf) -> Iterator[Place]:
        """The ports above a function, the nearest first."""
        upstream = self.places[bdf].upstream
        while upstream is not None:
            place = self.places[upstream]
            yield place
            upstream = place.upstream

    def device(self, place: Place) -> tuple[Place, ...]:
        """The physical functions of the device that a function belongs to."""
        own = place.physical or place.bdf
        return tuple(
            each
            for each in self.places.values()
            if (each.bdf.bus, each.bdf.device) == (own.bus, own.device) and each.physical is None
        )

    def seen_as(self, bdf: Bdf) -> Bdf:
        """The requester id of a function's requests where they reach the remapping unit."""
        seen = bdf
        for port in self.path(bdf):
            if port.port is PortKind.PCIE_TO_PCI:
                seen = Bdf(self._secondary[port.bdf], 0, 0)
        return seen

    def requester_ids(self, bdf: Bdf) -> tuple[Bdf, ...]:
        """Every requester id that requests of a function may carry at the remapping unit; its own first."""
        bits = self.places[bdf].phantom_bits
        step = 8 >> bits
        own = dict.fromkeys(
            [bdf, *(Bdf(bdf.bus, bdf.device, bdf.function % step + step * number) for number in range(1 << bits))]
        )
        seen = self.seen_as(bdf)
        return tuple(own) if seen == bdf else (*own, seen)

    def violates(self, sender: Bdf, claimed: Bdf, *, translated: bool = False) -> Bdf | None:
        """The port that refuses a request of `sender` under the requester id `claimed`, or None.

        `translated` is a request that says its address is a host address already (PCIe ATS).
        """
        for port in self.path(sender):
            if Acs.SOURCE_VALIDATION in port.acs and claimed.bus not in self._below[port.bdf]:
                return port.bdf
            if translated and Acs.TRANSLATION_BLOCKING in port.acs:
                return port.bdf
        return None

    def peers(self, bdf: Bdf) -> frozenset[Bdf]:
        """The functions whose registers a request of `bdf` reaches without coming past the remapping unit."""
        return self._peers[bdf]

    @cached_property
    def _peers(self) -> Mapping[Bdf, frozenset[Bdf]]:
        return {
            bdf: frozenset(self._find_peers(place)) - {bdf} if place.port is None else frozenset()
            for bdf, place in self.places.items()
        }

    def _find_peers(self, place: Place) -> Iterator[Bdf]:
        device = self.device(place)
        if len(device) > 1 and ISOLATING not in place.acs:
            yield from (each.bdf for each in device)
        for port in self.path(place.bdf):
            if port.port is PortKind.PCIE_TO_PCI:
                yield from self._under(port)
            elif port.port is PortKind.DOWNSTREAM and Acs.REQUEST_REDIRECT in port.acs:
                return
            elif port.port is PortKind.UPSTREAM:
                yield from self._under(port)

    def _under(self, port: Place) -> Iterator[Bdf]:
        return (
            each.bdf
            for each in self.places.values()
            if each.port is None and any(above.bdf == port.bdf for above in self.path(each.bdf))
        )

    @cached_property
    def _secondary(self) -> Mapping[Bdf, int]:
        """The bus right below each port that has any function below it."""
        return {place.upstream: place.bdf.bus for place in self.places.values() if place.upstream is not None}

    @cached_property
    def _below(self) -> Mapping[Bdf, frozenset[int]]:
        """The buses below each port."""
        buses: dict[Bdf, set[int]] = {bdf: set() for bdf in self.places}
        for place in self.places.values():
            for port in self.path(place.bdf):
                buses[port.bdf].add(place.bdf.bus)
        return {bdf: frozenset(found) for bdf, found in buses.items()}

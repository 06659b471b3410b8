"""IOMMU groups: which functions can reach each other behind the remapping unit's back, and so change hands together.

Two things join functions: a device with several functions, which may pass requests among themselves, and a port that
may turn a request round below itself. Access Control Services (ACS) on a function or port rules that out and keeps its
group apart (PCI Express Base Specification, "Access Control Services").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

from vafw.address import Bdf


@final
@dataclass(frozen=True, slots=True)
class TopologyNode:
    """A function or port as the grouping sees it."""

    bdf: Bdf
    upstream: Bdf | None = None
    """The port above it; None on the root complex's own bus."""
    acs: bool = False
    """It isolates: requests leave it upwards only."""


def iommu_groups(nodes: Iterable[TopologyNode]) -> Mapping[Bdf, int]:
    """Every function's group; groups are numbered from 0 in the order of their first functions."""
    by_bdf = {node.bdf: node for node in sorted(nodes, key=lambda node: node.bdf)}
    leader = {bdf: bdf for bdf in by_bdf}

    def join(one: Bdf, other: Bdf) -> None:
        first, second = sorted((leader[one], leader[other]))
        for bdf, led_by in leader.items():
            if led_by == second:
                leader[bdf] = first

    for node in by_bdf.values():
        if node.upstream is not None:
            if node.upstream not in by_bdf:
                raise ValueError(f"function {node.bdf} must be below a port of the topology, not {node.upstream}")
            if not by_bdf[node.upstream].acs:
                join(node.bdf, node.upstream)
        for other in by_bdf.values():
            if (other.bdf.bus, other.bdf.device) == (node.bdf.bus, node.bdf.device) and not (node.acs or other.acs):
                join(node.bdf, other.bdf)
    numbers = {bdf: number for number, bdf in enumerate(dict.fromkeys(leader[bdf] for bdf in by_bdf))}
    return {bdf: numbers[leader[bdf]] for bdf in by_bdf}

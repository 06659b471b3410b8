"""Plans of shipped examples, for the QEMU platform."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vafw.document.load import load_topology
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.plan import Plan

OFFICE: Final = Path(__file__).parents[3] / "policies" / "office-laptop" / "topology.yaml"
HOME: Final = OFFICE.parents[1] / "home" / "topology.yaml"
LAB: Final = OFFICE.parents[1] / "research-lab" / "topology.yaml"
ROAD_WARRIOR: Final = OFFICE.parents[1] / "road-warrior" / "topology.yaml"


def office_plan() -> Plan:
    """Compiled for a platform that can do everything."""
    return compile_plan(load_topology(OFFICE), ~Capability(0))


def home_plan() -> Plan:
    """The example whose firewall is a router."""
    return compile_plan(load_topology(HOME), ~Capability(0))


def lab_plan() -> Plan:
    """The example whose router has two uplinks."""
    return compile_plan(load_topology(LAB), ~Capability(0))

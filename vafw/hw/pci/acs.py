"""The capability by which software finds and turns on a function's Access Control Services (`vafw.fabric.acs`).

It says what the function can do, its control word what it does; both are words of the same bits. A service that the
capability lacks cannot be turned on.
"""

from __future__ import annotations

import struct

from vafw.fabric import Acs
from vafw.hw.pci.config import ExtendedCapability

ACS_CAPABILITY = 0x000D
"""Its number among the extended capabilities."""
ACS_CONTROL = 6
"""Offset of the control word in the capability."""


def acs_capability(services: Acs) -> ExtendedCapability:
    """The capability of a port that can do `services`; none of them is on after a reset."""
    return ExtendedCapability(
        ACS_CAPABILITY, body=struct.pack("<HH", services, 0), writable=struct.pack("<HH", 0, services)
    )

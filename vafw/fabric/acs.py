"""Access Control Services: which requests a port may turn round below itself, and which it must pass upwards.

With a service off, a request between two devices below the port never comes past the remapping unit (PCI Express Base
Specification, "Access Control Services"). Where the switches stand in a function is `vafw.hw.pci.acs`.
"""

from __future__ import annotations

from enum import IntFlag


class Acs(IntFlag):
    """The services."""

    NONE = 0
    SOURCE_VALIDATION = 1
    """A request whose requester id is of no bus below the port is refused."""
    TRANSLATION_BLOCKING = 2
    """A request that says it is translated already is refused."""
    REQUEST_REDIRECT = 4
    """A request to a device beside the requester goes up to the root complex instead."""
    COMPLETION_REDIRECT = 8
    UPSTREAM_FORWARDING = 16
    """A request that comes from above and leads back up is forwarded, not lost."""


ISOLATING = Acs.SOURCE_VALIDATION | Acs.REQUEST_REDIRECT | Acs.COMPLETION_REDIRECT | Acs.UPSTREAM_FORWARDING
"""What a port must do so that what is below it is apart from what is beside it."""


def in_force(capability: Acs, control: Acs) -> Acs:
    """The services that hold: those that are on, and those without a switch, which a port then has by nature."""
    return control | (ISOLATING & ~capability)

"""Access Control Services at boot: every port redirects what it can, so that requests come past the remapping unit.

Done before any function is assigned, since the groups that functions change hands in follow from it.
"""

from __future__ import annotations

from vafw.address import Bdf
from vafw.fabric import ISOLATING, Acs
from vafw.hw.pci import RootComplex
from vafw.hw.pci.acs import ACS_CAPABILITY, ACS_CONTROL

_BODY = 4


def enable_access_control(root_complex: RootComplex) -> tuple[Bdf, ...]:
    """Turn on whatever isolates, and refuse requests that claim to be translated; returns who has such services."""
    found = []
    for function in root_complex.functions:
        at = function.config.capability(ACS_CAPABILITY)
        if at is not None:
            capable = Acs(root_complex.config_read(function.bdf, at + _BODY, 2))
            root_complex.config_write(
                function.bdf, at + ACS_CONTROL, 2, capable & (ISOLATING | Acs.TRANSLATION_BLOCKING)
            )
            found.append(function.bdf)
    return tuple(found)

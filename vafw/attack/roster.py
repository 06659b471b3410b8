"""Every attack of the range, family by family; a new one is a function and a value in its family's module."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from vafw.attack import dma, evidence, firmware, guest, hand_over, interrupts, launch, peers, power
from vafw.attack.scenario import Scenario
from vafw.errors import NoSuchObject

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *dma.SCENARIOS,
    *peers.SCENARIOS,
    *interrupts.SCENARIOS,
    *hand_over.SCENARIOS,
    *firmware.SCENARIOS,
    *guest.SCENARIOS,
    *launch.SCENARIOS,
    *evidence.SCENARIOS,
    *power.SCENARIOS,
)


def named(name: str) -> Scenario:
    """The attack of that name; NoSuchObject with the nearest ones."""
    for each in SCENARIOS:
        if each.name == name:
            return each
    nearest = get_close_matches(name, [each.name for each in SCENARIOS], n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "`vafw attack list` prints every one"
    raise NoSuchObject(f"an attack must be one of those that `vafw attack list` prints, not {name!r}", hint=hint)

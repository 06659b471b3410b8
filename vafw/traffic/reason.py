"""The words that verdicts, proofs and rulesets share: states of a packet, and reasons that are no rule.

Apart from the engine, so that who only names them need not load it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MALFORMED: Final = "(malformed)"
NEIGHBOUR: Final = "(neighbour)"
ETHERTYPE: Final = "(ethertype)"
SPOOFED: Final = "(spoofed)"
FRAGMENT: Final = "(fragment)"
ESTABLISHED: Final = "(established)"
RELATED: Final = "(related)"
INVALID: Final = "(invalid)"
TABLE_FULL: Final = "(table full)"
OWN: Final = "(own address)"
"""It goes to the firewall itself, which offers nothing."""
NOT_MINE: Final = "(not mine)"
"""It is for another station, or for a group: nothing that a router takes up."""
NO_PORT: Final = "(no port free)"
"""It was to be masqueraded, and every port of the outer address is taken."""
DEFAULT: Final = "(default)"
PASSING: Final = frozenset({NEIGHBOUR, ESTABLISHED, RELATED})
"""Reasons for which a frame passes; for all others but the default it is dropped."""


class State(StrEnum):
    """What a packet is to the connections."""

    NEW = "new"
    ESTABLISHED = "established"
    RELATED = "related"
    INVALID = "invalid"
    UNTRACKED = "untracked"
    WRONG_SIDE = "wrong side"
    """Of a connection, but come in by the port of its other end."""

"""Which bit of a packet is which variable.

The order decides how large diagrams become. Rules are told apart by addresses first and by ports last, so addresses
stand above ports (a tenth of the time of the other way round on ten thousand rules); what few rules speak of stands at
the top, where it costs one node. IPv4 addresses take the first 32 variables of an IPv6 address: below the variable of
the version the two never meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.reason import State

SIDES: Final = (INSIDE, OUTSIDE)
VERSIONS: Final = (4, 6)
STATES: Final = (State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID)
"""What the values of these fields stand for, by number."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a packet: a number of `width` bits, its most significant bit at variable `first`."""

    name: str
    first: int
    width: int

    @property
    def variables(self) -> range:
        """Its variables, the most significant bit first."""
        return range(self.first, self.first + self.width)

    @property
    def highest(self) -> int:
        """Its largest value."""
        return (1 << self.width) - 1

    def narrow(self, width: int) -> Field:
        """The first `width` bits of it, as a field."""
        return Field(self.name, self.first, width)


SIDE: Final = Field("side", 0, 1)
VERSION: Final = Field("version", 1, 1)
STATE: Final = Field("state", 2, 2)
VLAN: Final = Field("vlan", 4, 12)
SOURCE: Final = Field("source", 16, 128)
DESTINATION: Final = Field("destination", 144, 128)
PROTOCOL: Final = Field("protocol", 272, 8)
PORT: Final = Field("port", 280, 16)
ICMP_TYPE: Final = Field("icmp type", 296, 8)
VARIABLES: Final = 304

FIELDS: Final = (SIDE, VERSION, STATE, VLAN, SOURCE, DESTINATION, PROTOCOL, PORT, ICMP_TYPE)
"""All of them, in the order of their variables."""


def address_field(field: Field, version: int) -> Field:
    """The bits of `SOURCE` or `DESTINATION` that an address of this IP version takes."""
    return field.narrow(32) if version == 4 else field


def field_at(variable: int) -> Field:
    """The field that a variable belongs to."""
    return next(each for each in FIELDS if variable < each.first + each.width)

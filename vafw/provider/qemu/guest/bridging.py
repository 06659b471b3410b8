"""Two ports joined by a bridge without an address: the guest passes frames on as they are, and says nothing of its own.

The rules are of nftables' family bridge, which has no flow table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from vafw.provider.qemu.guest import interfaces
from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nftables.rendering import nftables_table
from vafw.traffic.nftables.table import Table
from vafw.traffic.rule import Ruleset

_BRIDGE: Final = "path"


@final
class Bridge:
    """The transparent way."""

    closed = frozenset({("vafw", "forward")})

    def __init__(self) -> None:
        interfaces.load_modules("filter")

    def accepts(self, config: Mapping[str, Value]) -> None:
        """Any configuration without a router."""
        if "router" in config:
            raise ValueError("router must be given when the guest begins: this one passes frames on as they are")

    def table(self, ruleset: Ruleset) -> Table:
        """The rules of family bridge."""
        return nftables_table(ruleset, inside=INSIDE, outside=OUTSIDE, family="bridge")

    def guard(self) -> str:
        """Nothing: what is not addressed to it, it does not hear, and it has no address."""
        return ""

    def join(self) -> None:
        """Put both ports into the bridge."""
        interfaces.run("brctl", "addbr", _BRIDGE)
        for setting, value in (("stp_state", "0"), ("forward_delay", "0"), ("multicast_snooping", "0")):
            interfaces.write(f"/sys/class/net/{_BRIDGE}/bridge/{setting}", value)
        for port in (OUTSIDE, INSIDE):
            interfaces.run("brctl", "addif", _BRIDGE, port)
            interfaces.up(port)
        interfaces.up(_BRIDGE)

    def due_in_s(self) -> float | None:
        """Never."""
        return None

    def act(self) -> None:
        """Nothing to do by itself."""

    def fault(self) -> str:
        """Whether it joins both ports."""
        joined = {each.name for each in Path("/sys/class/net", _BRIDGE, "brif").iterdir()}
        return "" if joined == {INSIDE, OUTSIDE} else "the bridge must join both ports"

    def forget_denied(self, ruleset: Ruleset) -> int:
        """Which side a connection began on is told by its source, where the inside's addresses are known."""
        from vafw.provider.qemu.guest.tracked import forget_denied  # deferred: the engine is needed at a change only

        return forget_denied(ruleset, side_of=None)

    def report(self, ruleset: Ruleset) -> Mapping[str, Value]:
        """Nothing besides."""
        return {}

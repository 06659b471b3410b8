"""The conditions of a ruleset's rules at work: buckets of limits, schedules against the clock, names as they stand.

`first_match` says which rules speak of a packet; this says whether one of them may decide on it now. The order of
questions matters: a limit counts a packet only when everything else of its rule holds, as in nftables, where `limit`
stands last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vafw.traffic.appliance import opposite
from vafw.traffic.condition import Bucket
from vafw.traffic.named_addresses import NamedAddresses
from vafw.traffic.packet import Packet
from vafw.traffic.rule import Action, Rule, Ruleset, Selector


class Conditions:
    """What limits, schedules and names of one ruleset say at the moment."""

    def __init__(self, ruleset: Ruleset, *, wall_offset_s: float | None = None) -> None:
        """`wall_offset_s`: what makes `now_s` the seconds since 1 January 1970, UTC; None: the time is not known."""
        self.names = NamedAddresses(patterns_of(ruleset))
        self.wall_offset_s = wall_offset_s
        self._buckets = {id(rule): Bucket(rule.limit) for rule in ruleset.rules if rule.limit is not None}
        self._rules = ruleset.rules  # keeps the ids alive

    def hold(self, rule: Rule, packet: Packet, now_s: float) -> bool:
        """Whether a rule that speaks of the packet may decide on it now."""
        if rule.schedule is not None:
            wall_s = 0.0 if self.wall_offset_s is None else now_s + self.wall_offset_s
            if not rule.schedule.holds(wall_s, accepts=rule.action is Action.ACCEPT):
                return False
        if not (
            self._stands_for(rule.sources, packet.side, (packet.version, packet.source), now_s)
            and self._stands_for(rule.destinations, opposite(packet.side), (packet.version, packet.destination), now_s)
        ):
            return False
        return rule.limit is None or self._buckets[id(rule)].take(now_s)

    def _stands_for(self, selectors: Iterable[Selector], side: str, host: tuple[int, int], now_s: float) -> bool:
        return any(
            each.side in (None, side)
            and each.addresses.contains(*host)
            and (not each.names or self.names.holds(each.names, *host, now_s))
            for each in selectors
        )


def patterns_of(ruleset: Ruleset) -> Iterator[str]:
    """The host names that the rules speak of."""
    return (name for rule in ruleset.rules for each in (*rule.sources, *rule.destinations) for name in each.names)

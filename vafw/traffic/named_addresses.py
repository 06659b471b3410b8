"""Addresses that host names stand for at the moment: filled from DNS answers, emptied by their time to live.

Nothing is looked up and nothing is known at first, so a rule that speaks of a name matches no packet until an answer
for that name has passed (`name_notice` says how it gets here). An address is believed only where the rule's selector
allows it, so that whoever answers for a name cannot make it stand for a host of the local network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from vafw.traffic.host_name import covers

LEAST_TTL_S: Final = 60
"""An answer is good for so long at least: programs ask once and connect a little later."""
LONGEST_TTL_S: Final = 86400
MOST_ADDRESSES: Final = 65536
"""Addresses at most, all names together; the one that was learnt first is forgotten first."""


class NamedAddresses:
    """What the names of a ruleset stand for."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(dict.fromkeys(patterns))
        self._expires_s: OrderedDict[tuple[str, int, int], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._expires_s)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The names that are followed, ``*.example.com`` among them."""
        return self._patterns

    def learn(self, name: str, version: int, address: int, ttl_s: int, now_s: float) -> bool:
        """Take an answer: `name` has this address for `ttl_s` seconds from now. False: nobody asked about that name."""
        meant = [pattern for pattern in self._patterns if covers(pattern, name)]
        for pattern in meant:
            key = pattern, version, address
            until = now_s + min(max(ttl_s, LEAST_TTL_S), LONGEST_TTL_S)
            self._expires_s[key] = max(until, self._expires_s.pop(key, until))
            if len(self._expires_s) > MOST_ADDRESSES:
                self._expires_s.popitem(last=False)
        return bool(meant)

    def holds(self, patterns: Iterable[str], version: int, address: int, now_s: float) -> bool:
        """Whether one of the names stands for the address now."""
        return any(self._expires_s.get((pattern, version, address), now_s) > now_s for pattern in patterns)

    def current(self, now_s: float) -> tuple[tuple[str, int, int, float], ...]:
        """Pattern, IP version, address and seconds left, of all that has not expired."""
        return tuple((*key, until - now_s) for key, until in self._expires_s.items() if until > now_s)

    def kept(self, patterns: Iterable[str]) -> NamedAddresses:
        """Another table for other names, with what is known of those that are in both."""
        other = NamedAddresses(patterns)
        wanted = frozenset(other._patterns)
        other._expires_s = OrderedDict((key, until) for key, until in self._expires_s.items() if key[0] in wanted)
        return other

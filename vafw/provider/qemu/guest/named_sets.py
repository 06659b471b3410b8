"""The sets of a kernel's table that stand for host names: what is to be in them, and the text that puts it there.

    notice ─▶ NamedAddresses, as the engine has them ─▶ those that a rule's selector allows ─▶ elements with a timeout

Pure: notices and the time come in, text for ``nft -f`` goes out. The kernel ends an element by itself; what it does not
do is to prolong one, as adding an element that is there changes nothing. So each is added, deleted and added again, in
one transaction: the first makes the second possible, and no packet sees what is in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, final

from vafw.trace import Value
from vafw.traffic.conditions import patterns_of
from vafw.traffic.name_notice import read_notice
from vafw.traffic.named_addresses import NamedAddresses
from vafw.traffic.nftables.statement import bound_of, set_stems
from vafw.traffic.nftables.table import Table
from vafw.traffic.rule import Ruleset

Key: TypeAlias = tuple[str, int, int]
"""Name as the rule has it, IP version, address."""
_PROLONGED_S: Final = 0.01
"""What is less than that is what rounding does to an element that stays as it is."""
_LONGEST_LINE: Final = 512
"""Elements in one line."""
_ADDRESS: Final = {4: IPv4Address, 6: IPv6Address}


@final
class NamedSets:
    """The sets of one table, for the names of its ruleset."""

    def __init__(self, ruleset: Ruleset, table: Table, names: NamedAddresses | None = None) -> None:
        """`names` is what is known already; nothing of it is in the sets until `whole` says so."""
        self._names = names or NamedAddresses(patterns_of(ruleset))
        self._of = f"{table.family} {table.name}"
        self._stems = set_stems(ruleset.rules)
        self._bounds = {pattern: bound_of(ruleset.rules, pattern) for pattern in self._stems}
        self._written: dict[Key, float] = {}
        """When each element that the kernel was given ends."""

    def followed_by(self, ruleset: Ruleset, table: Table) -> NamedSets:
        """Those of the next table, with what is known of the names that its rules speak of too."""
        return NamedSets(ruleset, table, self._names.kept(patterns_of(ruleset)))

    def learn(self, frame: bytes, now_s: float) -> bool:
        """Take a frame for what it says of names; False where it is no notice, or a broken one."""
        told = read_notice(frame)
        for each in told or ():
            self._names.learn(each.name, each.version, each.address, each.ttl_s, now_s)
        return told is not None

    def whole(self, now_s: float) -> str:
        """Text that fills empty sets."""
        self._written = self._wanted(now_s)
        return "".join(self._lines("add", self._written, now_s))

    def anew(self, now_s: float) -> str:
        """Text that empties the sets, whatever is in them, and fills them."""
        sets = (f"{stem}-v{version}" for stem in self._stems.values() for version in _ADDRESS)
        return "".join(f"flush set {self._of} {each}\n" for each in sets) + self.whole(now_s)

    def edit(self, now_s: float) -> str:
        """Text for what has changed since the last text; empty where nothing has."""
        wanted, written = self._wanted(now_s), self._written
        gone = [key for key, until_s in written.items() if until_s > now_s and key not in wanted]
        later = {key: until for key, until in wanted.items() if until - written.get(key, 0.0) > _PROLONGED_S}
        self._written = wanted
        lines = (
            *self._lines("delete", dict.fromkeys(gone, 0.0), now_s),
            *self._lines("add", later, now_s),
            *self._lines("delete", dict.fromkeys(later, 0.0), now_s),
            *self._lines("add", later, now_s),
        )
        return "".join(lines)

    def report(self, sets: Mapping[str, Sequence[Mapping[str, int]]]) -> dict[str, Value]:
        """How many addresses each name has, and for how many seconds the last of them; `sets` as the kernel lists them.

        Of each set's elements, by its name, the value and ``expires``, seconds.
        """
        return {pattern: _held(sets, stem) for pattern, stem in self._stems.items()}

    def _wanted(self, now_s: float) -> dict[Key, float]:
        """The elements that there should be now, with the time at which each ends."""
        return {
            (pattern, version, address): now_s + left_s
            for pattern, version, address, left_s in self._names.current(now_s)
            if self._bounds[pattern].contains(version, address)
        }

    def _lines(self, do: str, elements: Mapping[Key, float], now_s: float) -> Iterator[str]:
        """One line for each set that has any of the elements; a time to end at of 0 is none."""
        by_set: dict[str, list[str]] = {}
        for (pattern, version, address), until_s in elements.items():
            timeout = f" timeout {max(1, int((until_s - now_s) * 1000))}ms" if until_s else ""
            text = f"{_ADDRESS[version](address)}{timeout}"
            by_set.setdefault(f"{self._stems[pattern]}-v{version}", []).append(text)
        for name, texts in by_set.items():
            for at in range(0, len(texts), _LONGEST_LINE):
                yield f"{do} element {self._of} {name} {{ {', '.join(texts[at : at + _LONGEST_LINE])} }}\n"


def _held(sets: Mapping[str, Sequence[Mapping[str, int]]], stem: str) -> Value:
    elements = [each for version in _ADDRESS for each in sets.get(f"{stem}-v{version}", ())]
    return {"addresses": len(elements), "for-s": max((each.get("expires", 0) for each in elements), default=0)}

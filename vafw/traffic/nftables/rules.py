"""The rules about new packets as lines of a chain: runs of plain rules as verdict maps, all others as statements.

A rule is plain if it decides and depends on nothing but the packet: no limit, no schedule, no host name, no VLAN. Runs
of plain rules become maps; a rule that is not plain stands between two runs, where first-match order wants it. A plain
rule with a log line or a rejection is an element that jumps to a chain; all others are decided by the lookup itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nftables.statement import Family, counter_name, statements, verdicts
from vafw.traffic.nftables.table import VerdictMap
from vafw.traffic.nftables.verdict_maps import GUARDS, verdict_maps
from vafw.traffic.rule import Action, Rule, State

SHORTEST_RUN: Final = 4
"""Rules in a run at least; fewer are written as statements."""
REJECT_CHAIN: Final = "rejected"
_TARGETS: Final = {each: each.value for each in Action}
MOST_BOXES: Final = 256
"""Boxes of one rule at most; one that may need more is written as statements with sets of their own."""


@final
class Rules:
    """Writes rules, and gathers the maps, chains and counters that they need."""

    def __init__(self, interfaces: Mapping[str, str], family: Family, sets: Mapping[str, str], uses_maps: bool) -> None:
        """`interfaces` of each side as nftables writes them; `sets` has the stem of the set of each host name."""
        self.family = family
        self.sets = sets
        self.maps: dict[str, VerdictMap] = {}
        self.chains: dict[str, tuple[str, ...]] = {}
        self.counted: set[str] = set()
        """Names of rules with a named counter."""
        self._interfaces = dict(interfaces)
        self._uses_maps = uses_maps

    def statements(self, rules: Iterable[Rule], state: State = State.NEW) -> Iterator[str]:
        """Rules about packets of one state, one by one."""
        for rule in rules:
            self.counted.add(rule.name)
            yield from statements(rule, self._interfaces, self.family, self.sets, state)

    def about_new(self, rules: Sequence[Rule]) -> Iterator[str]:
        """Rules about new packets."""
        if not self._uses_maps:
            yield from self.statements(rules)
            return
        for number, (mappable, run) in enumerate(_runs(rules)):
            if mappable and len(run) >= SHORTEST_RUN:
                yield from self._lookups(run, f"run{number}")
            else:
                yield from self.statements(run)

    def _lookups(self, run: Sequence[Rule], stem: str) -> Iterator[str]:
        verdicts_of = [self._verdict(rule) for rule in run]
        same = not any(_names_a_side(rule) for rule in run)
        for version in (4, 6):
            for side in (INSIDE,) if same else (INSIDE, OUTSIDE):
                maps = verdict_maps(run, side, version, verdicts_of)
                for level, (kind, found) in enumerate(maps):
                    name = f"{stem}-v{version}-{'any' if same else side}-{kind}-{level}"
                    self.maps[name] = found
                    where = "" if same else f"iifname {self._interfaces[side]} "
                    yield f"{where}{GUARDS[kind][version]} {found.key} vmap @{name}"

    def _verdict(self, rule: Rule) -> str:
        """What stands behind the interval: the rule's name and where to go from there."""
        if rule.log:
            target = f"goto {counter_name(rule.name)}"
            middle = f'log prefix "vafw {rule.name}: "'
            self.chains[counter_name(rule.name)] = (middle, *verdicts(rule.action, "", ""))
        elif rule.action is Action.REJECT:
            target = f"goto {REJECT_CHAIN}"
            self.chains[REJECT_CHAIN] = tuple(each.strip() for each in verdicts(Action.REJECT, "", ""))
        else:
            target = _TARGETS[rule.action]
        return f'comment "{rule.name}" : {target}'


def _runs(rules: Sequence[Rule]) -> Iterator[tuple[bool, list[Rule]]]:
    """The rules in order, split where plain ones and others meet."""
    run: list[Rule] = []
    plain = True
    for rule in rules:
        is_plain = _is_plain(rule)
        if run and is_plain != plain:
            yield plain, run
            run = []
        plain = is_plain
        run.append(rule)
    if run:
        yield plain, run


def _is_plain(rule: Rule) -> bool:
    if not rule.action.is_final or rule.vlans or rule.is_conditional:
        return False
    services = 0
    for match in rule.services:  # loops: every rule of a long list is asked
        services += len(match.ports) + len(match.icmp_types) or 1
    boxes = services or 1
    for selectors in (rule.sources, rule.destinations):
        ranges = 0
        for each in selectors:
            ranges += len(each.addresses.v4) + len(each.addresses.v6)
        boxes *= ranges
    return boxes <= MOST_BOXES


def _names_a_side(rule: Rule) -> bool:
    """Whether the rule tells packets by the side that they come from."""
    for selectors in (rule.sources, rule.destinations):
        for each in selectors:
            if each.side is not None:
                return True
    return False

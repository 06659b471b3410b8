"""What a list of rules does with every packet: which may pass, which surely do.

Both, because a rule with a limit, a schedule or a host name decides on its packets at some times only: what *may* pass
refutes ``never``, what does not *surely* pass refutes ``always``. Where no rule is conditional the two are one.

Two ways lead to the same set. Most long lists hardly overlap: what meets an action is then what the rules with that
action speak of, each without the few rules before it that do something else with some of its packets (`_met`). That is
one union, in any order, and it is made in the order in which it is cheapest. Where many rules overlap, a stretch of the
list is a function of what follows it (`_folded`): what may pass is ``may | (rest & ~taken)``, what surely passes
``sure | (rest & ~lost)``. Stretches compose, so the list is folded in halves and not from the end: large diagrams meet
log n times and not n times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from vafw.traffic.reason import State
from vafw.traffic.rule import Action, Rule, Ruleset
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.overlap import Sieve
from vafw.traffic.space.space import Space

MOST_OVERLAPS: Final = 40
"""Rules with another action, before a rule and overlapping it, that there may be on average: more are folded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of the packets of a `Space`."""

    may: Diagram
    """Packets that meet the action at some time."""
    surely: Diagram
    """Packets that meet it at all times."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    may: Diagram
    taken: Diagram
    """Packets that never reach what follows."""
    sure: Diagram
    lost: Diagram
    """Packets that may meet another action, whatever follows."""


def passing(space: Space, ruleset: Ruleset) -> Outcome:
    """The packets that pass a firewall with these rules."""
    return meeting(space, ruleset, Action.ACCEPT)


def meeting(space: Space, ruleset: Ruleset, action: Action) -> Outcome:
    """The packets that meet the action: by a rule, or as what is left by the default and by what connections decide."""
    rules = [rule for rule in ruleset.rules if rule.action.is_final]
    conditional = any(rule.is_conditional for rule in rules)
    opposed = None if conditional else _opposed(rules, action)
    if opposed is None:
        found = _folded(space, rules, left_over(space, ruleset, action), action)
    else:
        states = _states_left_over(ruleset, action)
        taken = space.rules([rule for rule in rules if not set(states).isdisjoint(rule.states)])
        may = _met(space, rules, action, opposed) | (space.states(states) & space.packets & ~taken)
        found = Outcome(may, may)
    spoofed = space.spoofed(ruleset)
    dropped = space.packets & spoofed if action is Action.DROP else space.nothing
    may = found.may & ~spoofed | dropped
    return Outcome(may, found.surely & ~spoofed | dropped if conditional else may)


def left_over(space: Space, ruleset: Ruleset, action: Action) -> Diagram:
    """What meets the action where no rule decides."""
    return space.states(_states_left_over(ruleset, action))


def _states_left_over(ruleset: Ruleset, action: Action) -> list[State]:
    states = {Action.ACCEPT: [State.ESTABLISHED, State.RELATED], Action.DROP: [State.INVALID]}.get(action, [])
    return [*states, *([State.NEW] if ruleset.default is action else [])]


def _opposed(rules: Sequence[Rule], action: Action) -> dict[int, list[int]] | None:
    """For each rule with the action those before it with another that it may overlap; None where these are many."""
    found: dict[int, list[int]] = {}
    count = 0
    for early, late in Sieve(rules).pairs():
        if rules[late].action is action and rules[early].action is not action:
            found.setdefault(late, []).append(early)
            count += 1
            if count > MOST_OVERLAPS * len(rules):
                return None
    return found


def _met(space: Space, rules: Sequence[Rule], action: Action, opposed: Mapping[int, Sequence[int]]) -> Diagram:
    """The packets that meet the action by some rule."""
    theirs = {at: space.rule(rules[at]) for at in set(chain.from_iterable(opposed.values()))}
    parts = [space.rules([rule for at, rule in enumerate(rules) if rule.action is action and at not in opposed])]
    for at, others in opposed.items():
        left = space.rules([rules[at]])
        for other in others:
            left = left & ~theirs[other]
        parts.append(left)
    return space.union(parts)


def _folded(space: Space, rules: Sequence[Rule], rest: Diagram, action: Action) -> Outcome:
    plain = not any(rule.is_conditional for rule in rules)
    whole = _fold([_single(space, rule, action, plain) for rule in rules], plain)
    may = (whole.may | (rest & ~whole.taken)) & space.packets
    return Outcome(may, may if plain else (whole.sure | (rest & ~whole.lost)) & space.packets)


def _single(space: Space, rule: Rule, action: Action, plain: bool) -> _Stretch:
    possible = space.rule(rule)
    certain = possible if plain else space.surely(rule)
    meets = rule.action is action
    return _Stretch(
        possible if meets else space.nothing,
        certain,
        certain if meets else space.nothing,
        space.nothing if meets else possible,
    )


def _fold(stretches: Sequence[_Stretch], plain: bool) -> _Stretch:
    if len(stretches) == 1:
        return stretches[0]
    middle = len(stretches) // 2
    first, then = _fold(stretches[:middle], plain), _fold(stretches[middle:], plain)
    may, taken = first.may | (then.may & ~first.taken), first.taken | then.taken
    if plain:
        return _Stretch(may, taken, may, taken)
    return _Stretch(may, taken, first.sure | (then.sure & ~first.lost), first.lost | then.lost)

"""What a list of rules does with every packet: which may pass, which surely do.

Both, because a rule with a limit, a schedule or a host name decides on its packets at some times only: what *may* pass
refutes ``never``, what does not *surely* pass refutes ``always``. Where no rule is conditional the two are one.

A stretch of the list is a function of what follows it: what may pass is ``may | (rest & ~taken)``, what surely passes
``sure | (rest & ~lost)``. Stretches compose, so the list is folded in halves and not from the end: large diagrams meet
log n times and not n times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vafw.traffic.reason import State
from vafw.traffic.rule import Action, Rule, Ruleset
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.space import Space


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
    rest = left_over(space, ruleset, action)
    considered = space.packets & ~space.spoofed(ruleset)
    dropped = space.packets & space.spoofed(ruleset) if action is Action.DROP else space.nothing
    if not rules:
        found = rest & considered | dropped
        return Outcome(found, found)
    plain = not any(rule.is_conditional for rule in rules)
    whole = _fold([_single(space, rule, action, plain) for rule in rules], plain)
    may = (whole.may | (rest & ~whole.taken)) & considered | dropped
    return Outcome(may, may if plain else (whole.sure | (rest & ~whole.lost)) & considered | dropped)


def left_over(space: Space, ruleset: Ruleset, action: Action) -> Diagram:
    """What meets the action where no rule decides."""
    states = {Action.ACCEPT: [State.ESTABLISHED, State.RELATED], Action.DROP: [State.INVALID]}.get(action, [])
    return space.states([*states, *([State.NEW] if ruleset.default is action else [])])


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

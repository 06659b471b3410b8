"""What changes for packets when one policy takes the place of another: regions of packets, and proofs that break.

Packets are compared along the whole path, as the user's side sees them. A rule with a condition counts twice: what may
pass at some time, and what passes at all times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from vafw.document.diagnostic import Diagnostic
from vafw.document.load import DocumentSet
from vafw.document.source import Span
from vafw.plan.checks.proofs import answers, deciding
from vafw.plan.checks.rules import kind_of, pattern_of
from vafw.plan.hops import path_hops
from vafw.plan.rules import compile_pattern
from vafw.plan.words import clause_words
from vafw.traffic.proof import Counterexample, Proof
from vafw.traffic.rule import Action
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.path import path_meeting
from vafw.traffic.space.region import Region, regions, written
from vafw.traffic.space.space import Space, new_space


class Turn(StrEnum):
    """How the fate of packets changes."""

    PASSES = "passes now"
    STOPS = "stops now"
    ALWAYS = "passes at all times now"
    SOMETIMES = "passes only at times now"
    ANSWERED = "is answered now"
    SILENT = "is dropped silently now"


@dataclass(frozen=True, slots=True)
class Changed:
    """Packets whose fate changes in one way."""

    turn: Turn
    region: Region
    before: Counterexample
    """What becomes of the region's example under the old policy."""
    after: Counterexample
    """What becomes of it under the new one."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A clause that held before and does not after."""

    words: str
    place: Span
    why: tuple[Diagnostic, ...]
    """Where the clause stands in the new policy."""
    example: Counterexample | None
    """Where it stands in the old policy only."""


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """Everything that changes."""

    changed: tuple[Changed, ...]
    broken: tuple[Broken, ...]
    complete: bool
    """Whether the regions say all of it: there are at most `region.MOST` for each way in which a fate can change."""


def policy_change(old: DocumentSet, new: DocumentSet) -> PolicyChange:
    """What changes from one set of documents to the other; both must have been checked."""
    before, after = path_hops(old), path_hops(new)
    space = new_space(rules=sum(len(each.ruleset.rules) for each in (*before, *after) if each.ruleset))
    old_proof, new_proof = Proof(before, space), Proof(after, space)
    changed: list[Changed] = []
    complete = True
    for turn, packets in _turns(space, old_proof, new_proof):
        found = regions(space, packets)
        complete = complete and space.within(packets, space.union([written(space, each) for each in found]))
        changed += [Changed(turn, region, *_fates(old_proof, new_proof, turn, region)) for region in found]
    broken = (*_broken_here(new), *_broken_there(old, new, old_proof, new_proof))
    return PolicyChange(tuple(changed), broken, complete)


def _turns(space: Space, old: Proof, new: Proof) -> Iterator[tuple[Turn, Diagram]]:
    """Disjoint sets of packets whose fate changes, by how."""
    was, now = old.passing, new.passing
    yield Turn.PASSES, now.may & ~was.may
    yield Turn.STOPS, was.may & ~now.may
    both = was.may & now.may
    yield Turn.ALWAYS, both & now.surely & ~was.surely
    yield Turn.SOMETIMES, both & was.surely & ~now.surely
    neither = space.packets & ~was.may & ~now.may
    answered = (path_meeting(space, old.hops, Action.REJECT).may, path_meeting(space, new.hops, Action.REJECT).may)
    yield Turn.ANSWERED, neither & answered[1] & ~answered[0]
    yield Turn.SILENT, neither & answered[0] & ~answered[1]


def _fates(old: Proof, new: Proof, turn: Turn, region: Region) -> tuple[Counterexample, Counterexample]:
    before = turn in (Turn.STOPS, Turn.SOMETIMES)
    return old.decided(region.example, passes=before), new.decided(region.example, passes=not before)


def _broken_here(new: DocumentSet) -> Iterator[Broken]:
    """The new policy's own clauses that do not hold."""
    clauses = new.policy.model.traffic.prove
    for answer in answers(new):
        if answer.refuted:
            yield Broken(clause_words(clauses[answer.index]), answer.place, answer.refuted, None)


def _broken_there(old: DocumentSet, new: DocumentSet, was: Proof, now: Proof) -> Iterator[Broken]:
    """Clauses that the new policy no longer has, held under the old rules and would not hold under the new ones."""
    kept = {clause_words(each) for each in new.policy.model.traffic.prove}
    for index, clause in enumerate(old.policy.model.traffic.prove):
        kind = kind_of(clause)
        if clause_words(clause) in kept or kind not in ("never", "always"):
            continue
        pattern, never = compile_pattern(old, pattern_of(clause)), kind == "never"
        found = now.counterexample(pattern, passes=never)
        if found is not None and was.counterexample(pattern, passes=never) is None:
            place = old.policy.key_at("traffic", "prove", index, kind)
            yield Broken(clause_words(clause), place, (), found)


def place_of(documents: DocumentSet, found: Counterexample) -> Span | None:
    """Where the rule stands that decided."""
    labels = deciding(documents, found)
    return labels[0].span if labels else None

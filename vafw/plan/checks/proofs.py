"""What the policy says must hold for every packet, proven or refuted with one packet.

The proving itself is `traffic.proof`; here its answer is put beside the clause, the hop and the rule that decided.
Where a name is unknown nothing is proven: `rules` has complained of the name, and a proof about other rules would
mislead. Where no appliance enforces the rules, the clauses are about the rules alone: `rules` has complained of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vafw.document.diagnostic import Diagnostic, DocumentInvalid, Label, did_you_mean
from vafw.document.load import DocumentSet, read_document, read_listed
from vafw.document.policy import Policy
from vafw.document.source import Source, Span
from vafw.document.traffic import SamePattern, ViaPattern
from vafw.plan.checks.place import span_at
from vafw.plan.checks.rules import kind_of, pattern_of, services_are_known, zones_are_known
from vafw.plan.hops import hops_named, path_hops
from vafw.plan.path import Way, ways_past
from vafw.plan.roster import USER_OS
from vafw.plan.rules import compile_pattern, compile_rules
from vafw.plan.wiring import joints, network_functions
from vafw.traffic.proof import Counterexample, Pattern, Proof
from vafw.traffic.reason import DEFAULT, SPOOFED
from vafw.traffic.space.path import Hop, outer_view


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one clause."""

    index: int
    """Its place under `prove`, from 0."""
    kind: str
    """``never``, ``always``, ``only-via`` or ``same-as``."""
    place: Span
    refuted: tuple[Diagnostic, ...]
    """Why it does not hold; empty where it does."""


def proofs_hold(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every clause under ``prove`` holds for every packet."""
    if names_are_known(documents):
        for answer in answers(documents):
            yield from answer.refuted


def names_are_known(documents: DocumentSet) -> bool:
    """Whether every name in a rule or a proof stands for something."""
    return not any(True for check in (zones_are_known, services_are_known) for _ in check(documents))


def answers(documents: DocumentSet) -> Iterator[Answer]:
    """What became of each clause, in order; KeyError where a name stands for nothing."""
    clauses = documents.policy.model.traffic.prove
    if not clauses:
        return
    prover = _Prover(documents)
    for index, clause in enumerate(clauses):
        kind, pattern = kind_of(clause), compile_pattern(documents, pattern_of(clause))
        place = documents.policy.key_at("traffic", "prove", index, kind)
        if clause.only_via is not None:
            found = prover.only_via(index, clause.only_via, pattern)
        elif clause.same_as is not None:
            found = prover.same_as(index, clause.same_as, pattern)
        else:
            found = prover.plain(index, kind, pattern)
        yield Answer(index, kind, place, tuple(found))


class _Prover:
    def __init__(self, documents: DocumentSet) -> None:
        self._documents = documents
        self._proof = Proof(_enforced(documents, path_hops(documents)))

    def plain(self, index: int, kind: str, pattern: Pattern) -> Iterator[Diagnostic]:
        """Why a ``never`` or ``always`` does not hold."""
        never = kind == "never"
        found = self._proof.counterexample(pattern, passes=never)
        if found is None:
            return
        yield Diagnostic(
            "VAFW-P020" if never else "VAFW-P021",
            f"no packet of this clause must pass, and '{found.rule}' lets one through"
            if never
            else f"every packet of this clause must pass, and '{found.rule}' stops one",
            self._documents.policy.key_at("traffic", "prove", index, kind),
            "does not hold",
            related=deciding(self._documents, found),
            notes=tuple(_shown(found, self._proof.hops)),
            hint="put a rule before it that drops such packets, or narrow the rule"
            if never
            else "put a rule before it that accepts such packets, or narrow the clause",
        )

    def only_via(self, index: int, clause: ViaPattern, pattern: Pattern) -> Iterator[Diagnostic]:
        """Why some packet gets round the appliance."""
        documents = self._documents
        path = documents.topology.model.path
        hops = [name for name in path[1:-1] if name in documents.topology.model.appliances]
        if clause.via not in hops:
            yield Diagnostic(
                "VAFW-P029",
                f"via must name an appliance of the path, not '{clause.via}'",
                span_at(documents.policy, "traffic", "prove", index, "only-via", "via"),
                related=(Label(span_at(documents.topology, "path"), "the path"),),
                hint=did_you_mean(clause.via, hops),
            )
            return
        graph = tuple(joints(documents))
        for way in ways_past(graph, USER_OS, network_functions(documents), clause.via):
            found = self._along(way).counterexample(pattern)
            if found is not None:
                yield _round(documents, index, clause.via, way, found)
                return

    def same_as(self, index: int, clause: SamePattern, pattern: Pattern) -> Iterator[Diagnostic]:
        """Why some packet meets another fate than under the other policy."""
        here = span_at(self._documents.policy, "traffic", "prove", index, "same-as", "policy")
        try:
            source = read_listed(self._documents, here, clause.policy)
            if not isinstance(source, Source):
                yield source
                return
            other = replace(self._documents, policy=read_document(source, Policy))
        except DocumentInvalid as invalid:
            yield from invalid.diagnostics
            return
        if not names_are_known(other):
            yield from (each for check in (zones_are_known, services_are_known) for each in check(other))
            return
        found = self._proof.difference(Proof(_enforced(other, path_hops(other)), self._proof.space), pattern)
        if found is not None:
            yield _differing(self._documents, other, index, clause.policy, found)

    def _along(self, way: Way) -> Proof:
        """The hops of a way from the user to the wire."""
        return Proof(hops_named(self._documents, way.vertices[::-1]), self._proof.space)


def _enforced(documents: DocumentSet, hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """The hops, or the rules alone where no hop has any."""
    return hops if any(each.ruleset for each in hops) else (Hop("", compile_rules(documents)),)


def _round(documents: DocumentSet, index: int, via: str, way: Way, found: Counterexample) -> Diagnostic:
    return Diagnostic(
        "VAFW-P027",
        f"whatever packet of this clause gets through must pass '{via}', and one gets round it",
        documents.policy.key_at("traffic", "prove", index, "only-via"),
        "does not hold",
        related=(Label(span_at(documents.topology, "path"), "the only way that may be"), *deciding(documents, found)),
        notes=(f"counter-example: {found.packet}", f"way: {way}"),
        hint=f"let every way between the user and the wire lead through '{via}'",
    )


def _differing(
    documents: DocumentSet, other: DocumentSet, index: int, name: str, found: tuple[Counterexample, Counterexample]
) -> Diagnostic:
    mine, theirs = found
    return Diagnostic(
        "VAFW-P028",
        f"every packet of this clause must meet the same fate as under '{name}', and one does not",
        documents.policy.key_at("traffic", "prove", index, "same-as"),
        "does not hold",
        related=(*deciding(documents, mine), *deciding(other, theirs)),
        notes=(
            f"counter-example: {mine.packet}",
            f"here: {mine.action} by '{mine.rule}'; there: {theirs.action} by '{theirs.rule}'",
        ),
        hint="make the two policies agree, or narrow the clause",
    )


def _shown(found: Counterexample, hops: Sequence[Hop]) -> Iterator[str]:
    """The packet, what it is on the wire where something translates it, and the hop that decides."""
    yield f"counter-example: {found.packet}"
    outer = outer_view(hops, found.packet)
    if outer != found.packet:
        yield f"on the wire: {outer}"
    if found.hop:
        yield f"decided at: {found.hop}"


def deciding(documents: DocumentSet, found: Counterexample) -> tuple[Label, ...]:
    """The place that made the decision; none for what the firewall does by itself."""
    policy = documents.policy
    for index, rule in enumerate(policy.model.traffic.rules):
        if rule.name == found.rule:
            return (Label(span_at(policy, "traffic", "rules", index, "name"), f"this rule decides: {found.action}"),)
    if found.rule == DEFAULT:
        return (Label(span_at(policy, "traffic", "default"), "no rule matches: the default decides"),)
    if found.rule == SPOOFED:
        return (Label(span_at(documents.topology, USER_OS, "addresses"), "the source is none of these"),)
    return ()

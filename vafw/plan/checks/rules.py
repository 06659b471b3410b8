"""The policy's names, and whether anything carries it out: zones, services, owners, who may configure what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vafw.document.diagnostic import Diagnostic, Label, did_you_mean
from vafw.document.load import DocumentSet
from vafw.document.source import Span
from vafw.document.traffic import PacketPattern, ProveClause, TrafficRule
from vafw.document.tree import Step
from vafw.plan.checks.names import RESERVED
from vafw.plan.checks.place import span_at
from vafw.plan.roster import USER_OS, appliance_uses, by_name, router_of
from vafw.plan.rules import is_host_name, services, zones


def zones_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every zone that a rule or a proof names stands for addresses."""
    known = zones(documents)
    appliances = documents.topology.model.appliances
    for names, where in _named(documents, "from", "to"):
        for index, name in enumerate(names):
            if name in known or is_host_name(name):
                continue
            here = span_at(documents.policy, *where, index)
            if name in appliances:
                yield Diagnostic(
                    "VAFW-P003",
                    f"an appliance must declare its addresses where a rule names it, and '{name}' declares none",
                    here,
                    related=(Label(documents.topology.key_at("appliances", name), "no addresses here"),),
                    hint=f"give {name} addresses: [...] in the topology",
                )
            else:
                yield Diagnostic(
                    "VAFW-P001",
                    f"a zone must be one that there is, not '{name}'",
                    here,
                    hint=did_you_mean(name, known),
                )


def services_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every service that a rule or a proof names stands for packets."""
    known = services(documents)
    for names, where in _named(documents, "service"):
        for index, name in enumerate(names):
            if name not in known:
                yield Diagnostic(
                    "VAFW-P002",
                    f"a service must be one that there is, not '{name}'",
                    span_at(documents.policy, *where, index),
                    hint=did_you_mean(name, known, otherwise="define it under services, with its protocol and ports"),
                )


def _named(documents: DocumentSet, *keys: str) -> Iterator[tuple[Sequence[str], tuple[Step, ...]]]:
    """Every list of names under one of `keys` in a rule or a proof, with its place; a default has no place."""
    for item, where in _patterns(documents):
        names = {"from": item.from_, "to": item.to, "service": item.service}
        yield from ((names[key], (*where, key)) for key in keys)


def _patterns(documents: DocumentSet) -> Iterator[tuple[TrafficRule | PacketPattern, tuple[Step, ...]]]:
    traffic = documents.policy.model.traffic
    for index, rule in enumerate(traffic.rules):
        yield rule, ("traffic", "rules", index)
    for index, clause in enumerate(traffic.prove):
        yield pattern_of(clause), ("traffic", "prove", index, kind_of(clause))


def pattern_of(clause: ProveClause) -> PacketPattern:
    """The packets that a proof speaks of."""
    pattern = clause.never or clause.always or clause.only_via or clause.same_as
    assert pattern is not None, "the model admits exactly one of them"
    return pattern


def kind_of(clause: ProveClause) -> str:
    """The key that is written: ``never``, ``always``, ``only-via`` or ``same-as``."""
    written = {
        "never": clause.never,
        "always": clause.always,
        "only-via": clause.only_via,
        "same-as": clause.same_as,
    }
    return next(key for key, pattern in written.items() if pattern is not None)


def zone_names_are_free(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A policy's own zone has a name that means nothing else."""
    appliances = documents.topology.model.appliances
    for name in documents.policy.model.traffic.zones:
        here = documents.policy.key_at("traffic", "zones", name)
        if name in (*RESERVED, USER_OS):
            yield Diagnostic(
                "VAFW-P004",
                f"a zone must have a name of its own, not '{name}'",
                here,
                "this name has a meaning of its own",
                hint=f"reserved are {', '.join((*RESERVED, USER_OS))}",
            )
        elif name in appliances:
            yield Diagnostic(
                "VAFW-P004",
                f"a zone must have a name of its own, not that of the appliance '{name}'",
                here,
                "a rule that names it could mean either",
                related=(Label(documents.topology.key_at("appliances", name), "the appliance"),),
                hint="rename the zone",
            )


def zones_hold_something(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A policy's own zone has addresses."""
    for name, networks in documents.policy.model.traffic.zones.items():
        if not networks:
            yield Diagnostic(
                "VAFW-P005",
                f"a zone must hold at least one network, and '{name}' holds none",
                documents.policy.key_at("traffic", "zones", name),
                "no packet is from here or goes there",
                hint="list its networks, or take the zone out",
            )


def rules_are_enforced(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An appliance of the path enforces the policy's traffic part."""
    topology, policy = documents.topology, documents.policy
    uses = by_name(documents)
    hops = [uses[hop] for hop in topology.model.path if hop in uses and hop != USER_OS]
    if any(use.enforces("traffic") or use.manifest is None for use in hops):
        return
    rules = policy.model.traffic.rules
    able = [use.name for use in appliance_uses(documents) if use.enforces("traffic")]
    yield Diagnostic(
        "VAFW-P006",
        "an appliance of the path must enforce the rules, and none does",
        policy.key_at("traffic", "rules") if rules else policy.key_at("traffic", "default"),
        "nothing carries these out",
        related=(Label(span_at(topology, "path"), "no manifest here has enforces: [traffic]"),),
        notes=(f"rules: {', '.join(rule.name for rule in rules)}",) if rules else (),
        hint=f"put {able[0]} into the path" if able else "put an appliance with enforces: [traffic] into the path",
    )


def names_are_followed(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Where a rule names a host, a DNS filter of the path, nearer to the user, tells the firewall its addresses."""
    uses = by_name(documents)
    path = documents.topology.model.path
    hops = [uses[hop] for hop in path if hop in uses and hop != USER_OS]
    firewalls = [at for at, use in enumerate(hops) if use.enforces("traffic")]
    if not firewalls or any(use.enforces("dns") for use in hops[firewalls[0] :]):
        return
    for names, where in _named(documents, "from", "to"):
        for index, name in enumerate(names):
            if is_host_name(name) and where[1] == "rules":
                yield _unfollowed(documents, name, span_at(documents.policy, *where, index))
    for zone, members in documents.policy.model.traffic.zones.items():
        for index, member in enumerate(members):
            if is_host_name(member):
                yield _unfollowed(documents, member, span_at(documents.policy, "traffic", "zones", zone, index))


def _unfollowed(documents: DocumentSet, name: str, here: Span) -> Diagnostic:
    return Diagnostic(
        "VAFW-P007",
        f"the addresses of '{name}' must come from a DNS filter between the firewall and the user, and there is none",
        here,
        "nobody would tell the firewall what this stands for",
        related=(Label(span_at(documents.topology, "path"), "no hop behind the firewall has enforces: [dns]"),),
        hint="put a dns-filter into the path, behind the firewall",
    )


def translation_is_done(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Where addresses are to be translated, a firewall of the path is a router."""
    nat = documents.policy.model.traffic.nat
    if (nat.masquerade or nat.forward) and router_of(documents) is None:
        yield Diagnostic(
            "VAFW-P008",
            "a firewall of the path must be a router where addresses are translated, and none is",
            documents.policy.key_at("traffic", "nat"),
            "nothing carries this out",
            related=(Label(span_at(documents.topology, "path"), "these pass frames on as they are"),),
            hint="give the firewall router: {outside: [...], inside: [...], gateway: [...]} in the topology",
        )


def owners_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A rule about devices speaks of a VM that there is."""
    uses = by_name(documents)
    for index, rule in enumerate(documents.policy.model.devices):
        if rule.never is not None and rule.never.to not in uses:
            yield Diagnostic(
                "VAFW-P012",
                f"a rule about devices must speak of a VM of the topology, not '{rule.never.to}'",
                span_at(documents.policy, "devices", index, "never", "to"),
                "it would forbid nothing",
                hint=did_you_mean(rule.never.to, uses),
            )


def managed_appliances_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Who may configure what speaks of appliances that there are."""
    appliances = documents.topology.model.appliances
    for name in documents.policy.model.management.may_configure:
        if name not in appliances:
            yield Diagnostic(
                "VAFW-P013",
                f"management must name an appliance of the topology, not '{name}'",
                documents.policy.key_at("management", "may-configure", name),
                hint=did_you_mean(name, appliances),
            )

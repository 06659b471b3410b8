"""Sections of appliances: on one that enforces them, and with files that are there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.load import DocumentSet, read_listed
from vafw.document.source import Source, Span
from vafw.plan.checks.place import span_at
from vafw.plan.checks.settings import unusable_file
from vafw.plan.roster import appliance_uses, by_name
from vafw.traffic.address_set import AddressSet

SECTIONS = ("dns", "ids", "vpn", "proxy")


def sections_are_carried_out(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A section stands at an appliance whose manifest enforces it."""
    for use in appliance_uses(documents):
        declared = documents.topology.model.appliances[use.name]
        for key in SECTIONS:
            if getattr(declared, key) is not None and use.manifest is not None and not use.enforces(key):
                yield Diagnostic(
                    "VAFW-T084",
                    f"a section {key}: must stand at an appliance that enforces it, and '{use.image}' does not",
                    documents.topology.key_at(*use.place, key),
                    related=(Label(documents.appliances[use.image].key_at("enforces"), "all that it enforces"),),
                    hint=f"move it to an appliance with enforces: [{key}]",
                )


def tunnels_lead_somewhere(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A VPN has a tunnel, and addresses on both sides of it."""
    for use in appliance_uses(documents):
        declared = documents.topology.model.appliances[use.name]
        for key, value in (("vpn", declared.vpn), ("router", declared.router)):
            if value is None and use.enforces("vpn"):
                yield Diagnostic(
                    "VAFW-T087",
                    f"a VPN must have a section {key}:, and '{use.name}' has none",
                    documents.topology.key_at(*use.place),
                    hint="give it router: {outside: [...], inside: [...], gateway: [...]}"
                    if key == "router"
                    else "give it vpn: {addresses: [...], peers: [...]}",
                )


def kill_switches_stay_on(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No VPN is told to let packets by."""
    for name, use in documents.topology.model.appliances.items():
        if use.vpn is not None and not use.vpn.kill_switch:
            yield Diagnostic(
                "VAFW-T088",
                f"the kill switch of a VPN must be on, and that of '{name}' is off",
                span_at(documents.topology, "appliances", name, "vpn", "kill-switch"),
                "nothing is ever sent beside the tunnel",
                hint="write kill-switch: true, or leave it out",
            )


def proxies_are_hosts(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A proxy has a section, and addresses in a network from which the user's gateways lead on."""
    gateways = [ip_address(each) for each in documents.topology.model.user_os.gateway]
    for use in appliance_uses(documents):
        if not use.enforces("proxy"):
            continue
        section = documents.topology.model.appliances[use.name].proxy
        if section is None or not use.addresses:
            missing = "a section proxy:" if section is None else "addresses"
            yield Diagnostic(
                "VAFW-T089",
                f"a proxy must have {missing}, and '{use.name}' has none",
                documents.topology.key_at(*use.place),
                hint="give it proxy: {allow: [...]}, or proxy: {} for every site"
                if section is None
                else "give it addresses: [...] in the user's network, which nobody else has",
            )
        for index, own in enumerate(use.addresses):
            if not any(each in own.network for each in gateways):
                yield Diagnostic(
                    "VAFW-T094",
                    f"a proxy must have a gateway of the user's in its network, and {own.network} holds none",
                    span_at(documents.topology, *use.place, "addresses", index),
                    "it asks the web in its own name",
                    hint="give it an address, with the prefix length, in the network of the user and the gateway",
                )


def proxies_stand_behind_the_firewall(documents: DocumentSet) -> Iterator[Diagnostic]:
    """What a proxy asks passes the rules, as what the user asks does."""
    path, uses = documents.topology.model.path, by_name(documents)
    for use in appliance_uses(documents):
        place = path.index(use.name) if use.name in path else 0
        inner = next((hop for hop in path[place:] if hop in uses and uses[hop].enforces("traffic")), None)
        if use.enforces("proxy") and (use.name not in path or inner is not None):
            yield Diagnostic(
                "VAFW-T095",
                f"a proxy must stand in the path between the firewall and the user OS, and '{use.name}' does not",
                documents.topology.key_at(*use.place)
                if use.name not in path
                else span_at(documents.topology, "path", place),
                "what it asks for would pass no rule",
                hint="write it into the path behind the firewall: [nic, firewall, ..., proxy, user-os]",
            )


def mirrors_only_alert(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An IDS that packets are only shown to is not told to drop them."""
    for name, use in documents.topology.model.appliances.items():
        if use.ids is not None and use.mode == "mirror" and use.ids.on_match == "drop":
            yield Diagnostic(
                "VAFW-T085",
                f"an IDS beside the path must only alert, and '{name}' is to drop",
                span_at(documents.topology, "appliances", name, "ids", "on-match"),
                "what it drops has passed already",
                related=(Label(span_at(documents.topology, "appliances", name, "mode"), "beside the path"),),
                hint="write on-match: alert, or put it into the path",
            )


def listed_files_of_sections_are_there(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every list that a section names can be read, and lists of names hold names."""
    for name, use in documents.topology.model.appliances.items():
        for index, file in enumerate(use.dns.block if use.dns is not None else ()):
            yield from unusable_file(documents, ("appliances", name, "dns", "block", index), file)
        for index, file in enumerate(use.ids.rules if use.ids is not None else ()):
            found = read_listed(documents, span_at(documents.topology, "appliances", name, "ids", "rules", index), file)
            if not isinstance(found, Source):
                yield found
                continue
            yield from _not_understood(found)


def _not_understood(source: Source) -> Iterator[Diagnostic]:
    """Signatures that the model's IDS would refuse."""
    from vafw.traffic.signature import read_signature  # deferred: few topologies have an IDS

    for number, line in enumerate(source.lines, 1):
        if line.strip()[:1] in ("", "#"):
            continue
        try:
            read_signature(line, AddressSet.nothing())
        except ValueError as error:
            yield Diagnostic(
                "VAFW-T086",
                str(error),
                Span(source, number, 1, number, len(line) + 1),
                hint="write what `vafw.traffic.signature` lists, or take the signature out",
            )

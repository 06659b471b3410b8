"""The files that settings and sections list, as names; read once the checks have passed."""

from __future__ import annotations

from vafw.document.diagnostic import DocumentInvalid
from vafw.document.load import DocumentSet, read_listed
from vafw.document.sections import DnsSection, IdsSection
from vafw.document.source import Source
from vafw.plan.checks.place import span_at
from vafw.plan.list_file import listed_names
from vafw.plan.writers.suricata import rules_text


def names_listed(documents: DocumentSet, where: tuple[str | int, ...], file: str) -> tuple[str, ...]:
    """The names in a file that the topology lists at `where`; DocumentInvalid where it cannot be read."""
    found = read_listed(documents, span_at(documents.topology, *where), file)
    if not isinstance(found, Source):
        raise DocumentInvalid([found])
    return listed_names(found)


def blocked_names(documents: DocumentSet, appliance: str, section: DnsSection) -> tuple[str, ...]:
    """The names of all lists of a `dns:` section, in order and each once."""
    names: dict[str, None] = {}
    for index, file in enumerate(section.block):
        names |= dict.fromkeys(names_listed(documents, ("appliances", appliance, "dns", "block", index), file))
    return tuple(names)


def signature_lines(documents: DocumentSet, appliance: str, section: IdsSection) -> tuple[str, ...]:
    """The signatures of all rule files of an `ids:` section, in order, with the action that it wants."""
    lines: list[str] = []
    for index, file in enumerate(section.rules):
        here = span_at(documents.topology, "appliances", appliance, "ids", "rules", index)
        found = read_listed(documents, here, file)
        if not isinstance(found, Source):
            raise DocumentInvalid([found])
        lines += rules_text(found.lines, section.on_match).splitlines()
    return tuple(lines)

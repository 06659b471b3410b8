"""Settings of appliances: known to the manifest, of its type, and every listed file there to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

from vafw.document.appliance import Appliance
from vafw.document.diagnostic import Diagnostic, Label, did_you_mean
from vafw.document.load import DocumentSet, read_listed
from vafw.document.model import written
from vafw.document.source import Source
from vafw.plan.checks.place import span_at
from vafw.plan.list_file import WrongLine, is_host_name, listed_names
from vafw.plan.roster import VmUse, appliance_uses


def settings_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The manifest lists every setting that a topology gives."""
    for use, manifest in _with_manifest(documents):
        for name in use.config:
            if name not in manifest.config:
                yield Diagnostic(
                    "VAFW-T070",
                    f"the appliance '{use.image}' has no setting '{name}'",
                    documents.topology.key_at(*use.place, "config", name),
                    related=(Label(_declared(documents, use, "config"), "its settings"),),
                    hint=did_you_mean(name, manifest.config, otherwise="it has no settings"),
                )


def settings_have_their_type(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every setting holds what the manifest says it does."""
    for use, manifest in _with_manifest(documents):
        for name, value in use.config.items():
            option = manifest.config.get(name)
            if option is not None and not _TYPES[option.type][1](value):
                yield Diagnostic(
                    "VAFW-T071",
                    f"the setting '{name}' must be {_TYPES[option.type][0]}, not {written(value)}",
                    span_at(documents.topology, *use.place, "config", name),
                    related=(Label(_declared(documents, use, "config", name), "its type"),),
                    hint=option.summary,
                )


def listed_files_are_there(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every file that a setting lists can be read and holds host names."""
    for use, manifest in _with_manifest(documents):
        for name, value in use.config.items():
            option = manifest.config.get(name)
            if option is None or option.type != "files" or not _TYPES["files"][1](value):
                continue
            for index, file in enumerate(as_texts(value)):
                yield from unusable_file(documents, (*use.place, "config", name, index), file)


def unusable_file(documents: DocumentSet, where: tuple[str | int, ...], file: str) -> Iterator[Diagnostic]:
    """What is wrong with a list of names that the topology names at `where`; nothing where it can be used."""
    found = read_listed(documents, span_at(documents.topology, *where), file)
    if not isinstance(found, Source):
        yield replace(found, hint=found.hint or "write the file beside the topology, or correct its name")
        return
    try:
        listed_names(found)
    except WrongLine as problem:
        yield Diagnostic(
            "VAFW-T072",
            problem.message,
            problem.span,
            related=(Label(span_at(documents.topology, *where), "the file is listed here"),),
            hint="write one name a line, or a line of a hosts file; what follows a # is a comment",
        )


def as_texts(value: Any) -> list[str]:
    """A list of texts, or one text that stands for a list of one."""
    return [value] if isinstance(value, str) else list(value)


def _with_manifest(documents: DocumentSet) -> Iterator[tuple[VmUse, Appliance]]:
    for use in appliance_uses(documents):
        if use.manifest is not None:
            yield use, use.manifest


def _declared(documents: DocumentSet, use: VmUse, *path: str) -> Any:
    return documents.appliances[use.image].key_at(*path)


def _texts(value: Any, fits: Callable[[str], bool]) -> bool:
    several = isinstance(value, list) and all(isinstance(each, str) and fits(each) for each in value)
    return several or (isinstance(value, str) and fits(value))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_TYPES: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "string": ("text", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "addresses": ("a list of IP addresses", lambda value: _texts(value, _is_address)),
    "names": ("a list of host names", lambda value: _texts(value, is_host_name)),
    "files": ("a list of files", lambda value: _texts(value, bool)),
}
"""What each type of option is called, and what fits it."""

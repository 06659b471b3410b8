"""What a wish makes of what is committed: compiled by the same checks as `vafw check`, and not committed yet.

The same wish over the same generation always gives the same draft, so that what was signed can be compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from vafw.control.approval import Kind, Statement
from vafw.control.change import Change, changed, config_of, texts_of, with_texts
from vafw.control.controller import Controller
from vafw.control.entry import Entry
from vafw.control.envelope import MAXIMUM_TRIAL_S, Version, digest_of
from vafw.control.ledger import Ledger, required_on_trial
from vafw.document.load import DocumentSet, load_topology
from vafw.errors import UsageError
from vafw.trace import Value

ORIGIN: Final = "origin"
"""In an entry's basis: the digest of the configuration that the documents gave when this line of changes began."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for."""

    kind: Kind
    changes: tuple[str, ...] = ()
    """The assignments of a set."""
    to: Version | None = None
    """The generation of a rollback; None: the last one that differs."""
    trial_s: float | None = None

    @classmethod
    def from_request(cls, kind: Kind, request: Mapping[str, Value]) -> Wish:
        """Read what a request asks for; UsageError where it cannot be read."""
        given, to = request.get("changes"), request.get("to")
        changes = tuple(map(str, given)) if isinstance(given, list) and kind is Kind.SET else ()
        goes_to = version_of(str(to)) if to is not None and kind is Kind.ROLLBACK else None
        tried = _patience(request) if kind in (Kind.SET, Kind.PUSH) else None
        return cls(kind, changes, goes_to, tried)

    @classmethod
    def of(cls, statement: Statement) -> Wish:
        """What was signed."""
        return cls(statement.kind, statement.changes, statement.to, statement.trial_s)


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be committed."""

    wish: Wish
    seen: Entry
    """What is committed now."""
    body: dict[str, Value]
    basis: dict[str, Value]
    note: str

    @property
    def digest(self) -> str:
        """Of the body."""
        return digest_of(self.body)


@final
class Drafter:
    """Makes drafts."""

    def __init__(self, controller: Controller, ledger: Ledger, documents: DocumentSet, topology: Path) -> None:
        """`documents` are those that were attested; a push reads those of `topology` anew."""
        self._controller = controller
        self._ledger = ledger
        self._documents = documents
        self._topology = topology

    def documents_of(self, entry: Entry) -> DocumentSet:
        """The documents that an entry was compiled from."""
        return with_texts(self._documents, entry.basis) if "policy" in entry.basis else self._documents

    async def draft(self, appliance: str, wish: Wish) -> Draft:
        """What a wish comes to; DocumentInvalid, NoSuchObject, UsageError or Refused say why it comes to nothing."""
        entry = await self._ledger.desired(appliance)
        match wish.kind:
            case Kind.SET:
                return self._set(entry, wish)
            case Kind.PUSH:
                documents = load_topology(self._topology)
                origin = digest_of(config_of(documents, appliance))
                return self._compiled(entry, wish, documents, "pushed from the documents", origin)
            case Kind.ROLLBACK:
                now, back = await self._controller.earlier(appliance, wish.to)
                note = f"back to {back.version}: {back.note}"
                return Draft(replace(wish, to=back.version), now, back.body, back.basis, note)
            case Kind.CONFIRM:
                on_trial = required_on_trial(appliance, entry)
                return Draft(wish, on_trial, on_trial.body, on_trial.basis, on_trial.note)

    def _set(self, entry: Entry, wish: Wish) -> Draft:
        wanted = [Change.parse(each) for each in wish.changes]
        if not wanted:
            raise UsageError("a change must be written PATH=VALUE, and none was given")
        after = self.documents_of(entry)
        for each in wanted:
            after = changed(after, entry.appliance, each)
        return self._compiled(entry, wish, after, f"set {'; '.join(map(str, wanted))}", entry.basis.get(ORIGIN))

    def _compiled(self, seen: Entry, wish: Wish, documents: DocumentSet, note: str, origin: Value) -> Draft:
        body = config_of(documents, seen.appliance)
        return Draft(wish, seen, body, {ORIGIN: origin, **texts_of(documents)}, note)


def version_of(text: str) -> Version:
    """``7`` is generation 7 of the first epoch, ``2.7`` of the second."""
    epoch, dot, generation = text.partition(".")
    if not dot:
        epoch, generation = "1", text
    if not epoch.isdecimal() or not generation.isdecimal():
        raise UsageError(f"a generation must be written such as 7 or 2.7, not {text!r}")
    return Version(int(epoch), int(generation))


def _patience(request: Mapping[str, Value]) -> float | None:
    """How long a change is on trial, in seconds; None: it is for good."""
    within = request.get("within-s")
    if within is None:
        return None
    if not isinstance(within, int | float) or not 0 < within <= MAXIMUM_TRIAL_S:
        raise UsageError(f"a trial must last more than nothing and {MAXIMUM_TRIAL_S / 3600:g} h at most, not {within}")
    return float(within)

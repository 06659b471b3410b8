"""What a running `up` answers to `vafw config`: get, set, push, confirm, history, rollback, list.

A change is compiled from the documents with the change in them, by the same checks as `vafw check`, and committed
before anything is sent. The answer waits for the agent's report; where none comes in time, the change is committed all
the same and the answer says so.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, final

from vafw.control.agent import Outcome, Report
from vafw.control.change import Change, changed, config_of, text_at, texts_of, with_texts
from vafw.control.controller import Controller, NotReported
from vafw.control.envelope import MAXIMUM_TRIAL_S, Version, digest_of
from vafw.control.ledger import Entry, Ledger
from vafw.document.load import DocumentSet, load_topology
from vafw.errors import NoSuchObject, Refused, UsageError
from vafw.trace import EventKind, Trace, Value

ORIGIN: Final = "origin"
"""In an entry's basis: the digest of the configuration that the documents gave when this line of changes began."""
REPORT_TIMEOUT_S: Final = 20.0


class NotApplied(Refused):
    """The agent refused the configuration, or went back from it."""


@final
class ConfigRequests:
    """The requests, each a JSON object in and a JSON value out."""

    def __init__(
        self,
        controller: Controller,
        ledger: Ledger,
        documents: DocumentSet,
        topology: Path,
        *,
        trace: Trace,
        entries: dict[str, Entry],
    ) -> None:
        """`entries` is what is committed, by appliance; whoever commits keeps it up to date."""
        self._committed = entries
        self._controller = controller
        self._ledger = ledger
        self._documents = documents
        self._topology = topology
        self._trace = trace
        self._table: Mapping[str, Callable[[str, Mapping[str, Value]], Awaitable[Value]]] = {
            "get": self._get,
            "set": self._set,
            "push": self._push,
            "confirm": self._confirm,
            "history": self._history,
            "rollback": self._rollback,
        }

    def states(self) -> Mapping[str, Mapping[str, Value]]:
        """Desired and reported of every appliance: epoch, generation, hash, status; alike where all is well."""
        return {name: self._compared(entry) for name, entry in self._committed.items()}

    async def answer(self, request: Mapping[str, Value]) -> Value:
        """Answer one request: ``verb``, ``appliance`` and what the verb needs."""
        verb, appliance = request.get("verb"), request.get("appliance")
        if verb == "list":
            return [await self._state(each) for each in await self._ledger.all_desired()]
        if not isinstance(verb, str) or verb not in self._table:
            raise UsageError(f"a config request must be one of list, {', '.join(self._table)}, not {verb!r}")
        known = [each.appliance for each in await self._ledger.all_desired()]
        if appliance not in known:
            raise NoSuchObject(f"the appliance must be one of {', '.join(known)}, not {appliance!r}")
        return await self._table[verb](str(appliance), request)

    async def _get(self, appliance: str, request: Mapping[str, Value]) -> Value:
        entry = await self._ledger.desired(appliance)
        state = await self._state(entry)
        if (path := request.get("path")) is not None:
            state["path"] = str(path)
            state["value"] = text_at(self._documents_of(entry), appliance, str(path))
        return state

    async def _set(self, appliance: str, request: Mapping[str, Value]) -> Value:
        self._require_allowed(appliance)
        entry = await self._ledger.desired(appliance)
        before = self._documents_of(entry)
        after = before
        assignments = request.get("changes")
        wanted = [Change.parse(str(each)) for each in (assignments if isinstance(assignments, list) else ())]
        if not wanted:
            raise UsageError("a change must be written PATH=VALUE, and none was given")
        for each in wanted:
            after = changed(after, appliance, each)
        note = f"set {'; '.join(map(str, wanted))}"
        return await self._commit(entry, after, note, entry.basis.get(ORIGIN), _patience(request))

    async def _push(self, appliance: str, request: Mapping[str, Value]) -> Value:
        self._require_allowed(appliance)
        entry = await self._ledger.desired(appliance)
        documents = load_topology(self._topology)
        origin = digest_of(config_of(documents, appliance))
        return await self._commit(entry, documents, "pushed from the documents", origin, _patience(request))

    async def _confirm(self, appliance: str, _request: Mapping[str, Value]) -> Value:
        self._require_allowed(appliance)
        entry = await self._controller.confirm(appliance)
        return await self._settled(entry, confirmation=True)

    async def _history(self, appliance: str, _request: Mapping[str, Value]) -> Value:
        return [each.to_json() for each in await self._ledger.history(appliance)]

    async def _rollback(self, appliance: str, request: Mapping[str, Value]) -> Value:
        self._require_allowed(appliance)
        wanted = request.get("to")
        to = None if wanted is None else _version(str(wanted))
        entry = await self._controller.rollback(appliance, to=to, author=getpass.getuser())
        return await self._settled(entry)

    def _require_allowed(self, appliance: str) -> None:
        """Refuse what `management` of the attested policy does not allow.

        Its groups are people's elsewhere: whoever reaches this socket owns the run and its documents.
        """
        management = self._documents.policy.model.management
        if management.signatures > 1:
            raise Refused(
                f"a configuration must have {management.signatures} signatures, and vafw config gives one",
                hint="change the documents and start it anew, or set management.signatures to 1",
            )
        if management.may_configure and not management.may_configure.get(appliance):
            known = ", ".join(sorted(management.may_configure))
            raise Refused(
                f"{appliance} must be named by management.may-configure to be configured, which names {known}",
                hint=f"add it to the policy: may-configure: {{{appliance}: [netops]}}",
            )

    async def _commit(
        self, seen: Entry, documents: DocumentSet, note: str, origin: Value, within_s: float | None
    ) -> Value:
        """Compile, commit, and wait for the report."""
        body = config_of(documents, seen.appliance)
        entry = await self._controller.push(
            seen.appliance,
            body,
            seen=seen.version,
            basis={ORIGIN: origin, **texts_of(documents)},
            note=note,
            author=getpass.getuser(),
            within_s=within_s,
        )
        return await self._settled(entry)

    async def _settled(self, entry: Entry, *, confirmation: bool = False) -> Value:
        if not confirmation:
            self._committed[entry.appliance] = entry
            self._trace.record(EventKind.CONFIG_COMMITTED, entry.appliance, **entry.to_json())
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                report = await self._controller.settled(entry.appliance, entry.version, trial_over=confirmation)
        except TimeoutError:
            raise NotReported(
                f"generation {entry.version} of {entry.appliance} is committed, and its agent did not answer within "
                f"{REPORT_TIMEOUT_S:g} s; it takes it once it is there"
            ) from None
        if confirmation and report.asked == entry.version and report.outcome is not Outcome.CONFIRMED:
            raise NotApplied(
                f"generation {entry.version} of {entry.appliance} must be confirmed in time: {report.reason}",
                hint=f"generation {report.running} runs; make the change anew",
            )
        if report.outcome not in (Outcome.APPLIED, Outcome.ON_TRIAL, Outcome.CONFIRMED):
            ways = "the ledger follows" if entry.trial else "vafw config rollback takes the change out of the ledger"
            raise NotApplied(
                f"{entry.appliance} must be healthy with generation {entry.version}: {report.reason}",
                hint=f"generation {report.running} runs; {ways}",
            )
        return await self._state(await self._ledger.desired(entry.appliance))

    async def _state(self, entry: Entry) -> dict[str, Value]:
        """Desired against reported."""
        report: Report | None = self._controller.report(entry.appliance)
        return {
            "appliance": entry.appliance,
            "desired": entry.to_json(),
            "reported": report.to_json() if report else None,
            "present": self._controller.present(entry.appliance),
            "in-sync": report is not None and (report.running, report.digest) == (entry.version, entry.digest),
        }

    def _compared(self, entry: Entry) -> dict[str, Value]:
        report = self._controller.report(entry.appliance)
        sure = Outcome.CONFIRMED if report and report.outcome is Outcome.CONFIRMED else Outcome.APPLIED
        wanted: dict[str, Value] = {**entry.version.to_json(), "hash": entry.digest, "status": sure.value}
        if report is None:
            return {"desired": wanted, "reported": None}
        running: dict[str, Value] = report.running.to_json() if report.running else {"epoch": None, "generation": None}
        same = (report.running, report.digest) == (entry.version, entry.digest)
        started = report.outcome is Outcome.STARTED and same  # nothing was asked, and nothing needs to be
        status = Outcome.APPLIED if started else report.outcome
        had = {**running, "hash": report.digest, "status": status.value, "reason": report.reason}
        return {"desired": wanted, "reported": had}

    def _documents_of(self, entry: Entry) -> DocumentSet:
        return with_texts(self._documents, entry.basis) if "policy" in entry.basis else self._documents


def _patience(request: Mapping[str, Value]) -> float | None:
    """How long a change is on trial, in seconds; None: it is for good."""
    within = request.get("within-s")
    if within is None:
        return None
    if not isinstance(within, int | float) or not 0 < within <= MAXIMUM_TRIAL_S:
        raise UsageError(f"a trial must last more than nothing and {MAXIMUM_TRIAL_S / 3600:g} h at most, not {within}")
    return float(within)


def _version(text: str) -> Version:
    """``7`` is generation 7 of the first epoch, ``2.7`` of the second."""
    epoch, dot, generation = text.partition(".")
    if not dot:
        epoch, generation = "1", text
    if not epoch.isdecimal() or not generation.isdecimal():
        raise UsageError(f"a generation must be written such as 7 or 2.7, not {text!r}")
    return Version(int(epoch), int(generation))

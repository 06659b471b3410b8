"""What a running `up` answers to `vafw config`: get, set, push, confirm, history, rollback, list, propose, apply.

A change is compiled from the documents with the change in them (`config_drafts`), and committed before anything is
sent. Where the policy declares people, nothing is committed that enough of them did not sign: what they signed is
compared with what it comes to now, and goes with the change to its agent, which looks at it again. The answer waits for
the agent's report; where none comes in time, the change is committed all the same and the answer says so.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vafw.clock import Clock
from vafw.control.agent import Outcome, Report
from vafw.control.approval import Approval, Kind, NotApproved, Statement, controller_of
from vafw.control.change import text_at
from vafw.control.controller import Controller, NotReported
from vafw.control.entry import Approved, Entry
from vafw.control.ledger import Ledger, StaleGeneration
from vafw.document.load import DocumentSet
from vafw.errors import NoSuchObject, Refused, UsageError
from vafw.machine.authority import Authority, NotAuthorised
from vafw.plan.management import key_of
from vafw.plan.plan import Plan
from vafw.supervisor.config_drafts import Draft, Drafter, Wish
from vafw.trace import EventKind, Trace, Value

REPORT_TIMEOUT_S: Final = 20.0
LIFETIME_S: Final = 86400.0
"""How long a proposal may be applied where nothing is said."""
LONGEST_LIFETIME_S: Final = 7 * 86400.0

_Answers = Callable[[str, Mapping[str, Value]], Awaitable[Value]]


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
        plan: Plan,
        key: Ed25519PublicKey,
        clock: Clock,
        trace: Trace,
        entries: dict[str, Entry],
    ) -> None:
        """`key` is the controller's; `entries` what is committed, by appliance: whoever commits keeps it up to date."""
        self._committed = entries
        self._plan = plan
        self._key = key
        self._clock = clock
        self._controller = controller
        self._ledger = ledger
        self._documents = documents
        self._drafter = Drafter(controller, ledger, documents, topology)
        self._trace = trace
        self._table: Mapping[str, _Answers] = {
            "get": self._get,
            **{kind.value: self._unsigned(kind) for kind in Kind},
            "history": self._history,
            "propose": self._propose,
            "apply": self._apply,
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
            state["value"] = text_at(self._drafter.documents_of(entry), appliance, str(path))
        return state

    async def _history(self, appliance: str, _request: Mapping[str, Value]) -> Value:
        return [each.to_json() for each in await self._ledger.history(appliance)]

    def _unsigned(self, kind: Kind) -> _Answers:
        """Answers what is asked for without any signature, and done where none is needed."""

        async def answer(appliance: str, request: Mapping[str, Value]) -> Value:
            self._require_named(appliance)
            if (authority := self._authority(appliance)) is not None:
                raise NotAuthorised(
                    f"configuring {appliance} must be signed by {authority.wanted}, and this is not signed",
                    hint=_how_to_sign(authority),
                )
            draft = await self._drafter.draft(appliance, Wish.from_request(kind, request))
            return await self._commit(draft, None)

        return answer

    async def _propose(self, appliance: str, request: Mapping[str, Value]) -> Value:
        """What could be signed, and everything that whoever signs it needs to look at."""
        self._require_named(appliance)
        kind = next((each for each in Kind if each == request.get("kind")), None)
        if kind is None:
            raise UsageError(f"a proposal must be one of {', '.join(Kind)}, not {request.get('kind')!r}")
        expires = self._clock.wall() + timedelta(seconds=_lifetime(request))
        draft = await self._drafter.draft(appliance, Wish.from_request(kind, request))
        authority = self._authority(appliance)
        return {
            "statement": self._statement(draft, expires).to_json(),
            "before": draft.seen.body,
            "after": draft.body,
            "required": authority.required if authority else 0,
            "people": list(authority.people) if authority else [],
        }

    async def _apply(self, appliance: str, request: Mapping[str, Value]) -> Value:
        """Do what was signed, if it was signed for this, by those who may, and comes to what they saw."""
        self._require_named(appliance)
        approval = Approval.from_json(request.get("approval"))
        statement = approval.statement
        statement.require_of(self._plan.name, appliance, controller_of(self._key))
        signers = self._signers(appliance, approval)
        statement.require_fresh(self._clock.wall())
        seen = await self._ledger.desired(appliance)
        if (seen.version, seen.digest) != (statement.base, statement.before):
            raise StaleGeneration(
                f"what was signed must build on what is committed, generation {seen.version}, not on {statement.base}",
                hint="propose it anew",
            )
        draft = await self._drafter.draft(appliance, Wish.of(statement))
        if draft.digest != statement.after:
            raise NotApproved(
                f"what was signed must come to {statement.after}, and comes to {draft.digest}",
                hint="the documents were edited since it was proposed; propose it anew",
            )
        return await self._commit(draft, Approved(approval, signers) if signers else None)

    def _statement(self, draft: Draft, expires: datetime) -> Statement:
        wish, seen = draft.wish, draft.seen
        return Statement(
            wish.kind,
            self._plan.name,
            seen.appliance,
            controller_of(self._key),
            seen.version,
            seen.digest,
            draft.digest,
            wish.changes,
            wish.to,
            wish.trial_s,
            expires.replace(microsecond=0),
        )

    def _signers(self, appliance: str, approval: Approval) -> tuple[str, ...]:
        """Who signed; nobody where nobody needs to."""
        authority = self._authority(appliance)
        if authority is None and approval.signatures:
            raise NotAuthorised(
                f"a signature must be of somebody whom the policy declares, and {self._plan.name} has nobody declared",
                hint="take the signatures out: nobody needs to sign here",
            )
        people = self._documents.policy.model.management.people
        known = {name: key_of(person) for name, person in people.items()}
        return approval.signers(authority, known) if authority is not None else ()

    def _authority(self, appliance: str) -> Authority | None:
        return self._plan.vm(appliance).authority

    def _require_named(self, appliance: str) -> None:
        """Refuse an appliance that `management` of the attested policy lets nobody configure.

        Where it declares nobody, its groups are people's elsewhere: whoever reaches this socket owns the run.
        """
        management = self._documents.policy.model.management
        if (management.may_configure or management.people) and not management.may_configure.get(appliance):
            known = ", ".join(sorted(management.may_configure)) or "none"
            raise Refused(
                f"{appliance} must be named by management.may-configure to be configured, which names {known}",
                hint=f"add it to the policy: may-configure: {{{appliance}: [netops]}}",
            )

    async def _commit(self, draft: Draft, approved: Approved | None) -> Value:
        """Commit, and wait for the report."""
        seen, wish = draft.seen, draft.wish
        if wish.kind is Kind.CONFIRM:
            return await self._settled(await self._controller.confirm(seen.appliance, approved), confirmation=True)
        if approved is not None and wish.trial_s is not None:
            self._require_running(seen)
        entry = await self._controller.push(
            seen.appliance,
            draft.body,
            seen=seen.version,
            basis=draft.basis,
            note=draft.note,
            author=getpass.getuser(),
            within_s=wish.trial_s,
            approved=approved,
        )
        return await self._settled(entry)

    def _require_running(self, seen: Entry) -> None:
        """A signed trial must go back to what runs: an agent takes a generation that it passed by from nobody."""
        report = self._controller.report(seen.appliance)
        if report is None or report.running != seen.version:
            raise Refused(
                f"a trial of {seen.appliance} must build on what runs, and generation {seen.version} does not run yet",
                hint="wait until vafw config get says that it is in sync",
            )

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


def _how_to_sign(authority: Authority) -> str:
    steps = "vafw config propose ... --out change.json, then sign change.json --key KEY, then apply change.json"
    if authority.required > 1:
        return f"{steps}; {authority.required} people sign the same file"
    return f"add --key ~/.ssh/id_ed25519, or in steps: {steps}"


def _lifetime(request: Mapping[str, Value]) -> float:
    """How long a proposal may be applied, in seconds."""
    valid = request.get("valid-s", LIFETIME_S)
    if not isinstance(valid, int | float) or not 0 < valid <= LONGEST_LIFETIME_S:
        days = LONGEST_LIFETIME_S / 86400
        raise UsageError(f"a proposal must be valid for more than nothing and {days:g} d at most, not {valid}")
    return float(valid)

"""The controller of one workstation: commits what is desired, publishes it, remembers what is reported.

Everything is committed to the ledger before it is published, and published again on every new connection: whatever the
broker lost, kept from before or never wrote down, the agents end at what is committed. Nothing is decided by what a
broker says; only an agent's signed report counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vafw.clock import Clock
from vafw.control import topics
from vafw.control.agent import Outcome, Report
from vafw.control.bus import Bus, BusLost, Line, Message
from vafw.control.entry import Approved, Entry, TrialState
from vafw.control.envelope import EnvelopeRefused, Version, seal, strict_json, unseal
from vafw.control.ledger import Ledger
from vafw.control.pacing import Pacing
from vafw.control.topics import AVAIL, DESIRED, EVENT, REPORTED, Place
from vafw.errors import NoSuchObject, VafwError
from vafw.trace import Value

DESIRED_LIFETIME: Final = timedelta(days=2)
REFRESH_S: Final = 12 * 3600.0
"""How often what is desired is signed anew, well before it expires."""


class NotReported(VafwError):
    """It is committed, and the agent has not answered in time; it will, once it can."""


@final
class Controller:
    """The controller of one workstation."""

    def __init__(
        self,
        workstation: str,
        ledger: Ledger,
        line: Line,
        key: Ed25519PrivateKey,
        clock: Clock,
        *,
        heard: Callable[[str, Report], None] | None = None,
        concluded: Callable[[Entry], None] | None = None,
    ) -> None:
        """`heard` is told every genuine report, with the appliance it came from.

        `concluded` is told what is desired once a trial ended: the generation confirmed, or the one after it.
        """
        self._workstation = workstation
        self._ledger = ledger
        self._line = line
        self._key = key
        self._clock = clock
        self._heard = heard
        self._concluded = concluded
        self._reports: dict[str, Report] = {}
        self._sessions: dict[str, str] = {}
        self._present: dict[str, bool] = {}
        self._changed = asyncio.Condition()
        self._committed = asyncio.Event()

    # -- public -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve for ever, connecting again whenever the bus is lost."""
        pacing = Pacing(self._clock)
        while True:
            lost = False
            try:
                async with self._line.connect() as bus:
                    await self._serve(bus, pacing)
            except* BusLost:
                lost = True
            if lost:
                await pacing.pause()

    async def push(
        self,
        appliance: str,
        body: dict[str, Value],
        *,
        seen: Version | None,
        basis: dict[str, Value] | None = None,
        note: str = "",
        author: str = "",
        within_s: float | None = None,
        approved: Approved | None = None,
    ) -> Entry:
        """Commit the next generation and have it published; StaleGeneration unless the last one is `seen`.

        With `within_s` it is on trial, and goes back unless `confirm` reaches its agent in so many seconds. `approved`
        goes with it to its agent, which decides by it.
        """
        entry = await self._ledger.commit(
            appliance,
            body,
            seen=seen,
            basis=basis or {},
            note=note,
            author=author,
            within_s=within_s,
            approved=approved,
        )
        self._committed.set()
        return entry

    async def confirm(self, appliance: str, approved: Approved | None = None) -> Entry:
        """Ask the agent to keep what is on trial; `settled` says whether it came in time. Refused where nothing is."""
        entry = await self._ledger.ask_to_confirm(appliance, approved)
        self._committed.set()
        return entry

    async def rollback(self, appliance: str, *, to: Version | None = None, author: str = "") -> Entry:
        """Commit what an earlier generation had as the next one; without `to`, what the one before had."""
        now, back = await self.earlier(appliance, to)
        note = f"back to {back.version}: {back.note}"
        return await self.push(appliance, back.body, seen=now.version, basis=back.basis, note=note, author=author)

    async def earlier(self, appliance: str, to: Version | None) -> tuple[Entry, Entry]:
        """What is desired, and the generation that a rollback goes back to."""
        history = await self._ledger.history(appliance)
        if not history:
            raise NoSuchObject(f"{appliance} must have a committed configuration, and has none")
        now = history[0]
        kept = [each for each in history[1:] if not each.went_back]
        earlier = [each for each in kept if (each.version == to if to else each.digest != now.digest)]
        if not earlier:
            known = ", ".join(str(each.version) for each in kept) or "none"
            what = f"generation {to}" if to else "a generation that differs"
            raise NoSuchObject(f"{appliance} must have {what} to go back to; before {now.version} it has {known}")
        return now, earlier[0]

    async def settled(self, appliance: str, version: Version, *, trial_over: bool = False) -> Report:
        """The agent's answer to `version` or to a later one; the caller says how long to wait.

        With `trial_over`, "on trial" is no answer.
        """

        def answer() -> Report | None:
            said = self._reports.get(appliance)
            if said is None or said.asked is None or said.asked < version:
                return None
            return None if trial_over and said.outcome is Outcome.ON_TRIAL else said

        async with self._changed:
            await self._changed.wait_for(lambda: answer() is not None)
        found = answer()
        assert found is not None
        return found

    def report(self, appliance: str) -> Report | None:
        """The last report of this run."""
        return self._reports.get(appliance)

    def present(self, appliance: str) -> bool:
        """Whether the appliance's agent is on the bus, as far as the broker says."""
        return self._present.get(appliance, False)

    # -- the bus ----------------------------------------------------------------------------------------------

    async def _serve(self, bus: Bus, pacing: Pacing) -> None:
        for leaf in (REPORTED, AVAIL, EVENT):
            await bus.subscribe(topics.every(self._workstation, leaf))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(bus), name="vafw.controller.reports")
            tasks.create_task(self._publish(bus, pacing), name="vafw.controller.outbox")

    async def _listen(self, bus: Bus) -> None:
        async for message in bus.messages():
            await self._receive(message)

    async def _publish(self, bus: Bus, pacing: Pacing) -> None:
        """Everything at first and now and then, what is new at once."""
        while True:
            refresh_at_s = self._clock.monotonic() + REFRESH_S
            for entry in await self._ledger.all_desired():
                await self._send(bus, entry)
            pacing.succeeded()
            while self._clock.monotonic() < refresh_at_s:
                await self._wait_for_commit(refresh_at_s)
                for entry in await self._ledger.unpublished():
                    await self._send(bus, entry)

    async def _wait_for_commit(self, until_s: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(until_s - self._clock.monotonic()))
        committed = asyncio.ensure_future(self._committed.wait())
        try:
            await asyncio.wait((sleeping, committed), return_when=asyncio.FIRST_COMPLETED)
            self._committed.clear()
        finally:
            sleeping.cancel()
            committed.cancel()
            await asyncio.gather(sleeping, committed, return_exceptions=True)

    async def _send(self, bus: Bus, entry: Entry) -> None:
        at = Place(self._workstation, entry.appliance, DESIRED)
        trial = entry.trial if entry.trial and entry.trial.state is TrialState.OPEN else None
        data = seal(
            at,
            entry.version,
            entry.body,
            self._key,
            now=self._clock.wall(),
            lifetime=timedelta(seconds=trial.within_s) if trial else DESIRED_LIFETIME,
            trial_s=trial.within_s if trial else None,
            approval=entry.approved.approval.to_json() if entry.approved else None,
            confirmation=entry.confirmed.approval.to_json() if entry.confirmed else None,
        )
        await bus.publish(topics.topic(at.workstation, at.appliance, DESIRED), data, retain=True)
        await self._ledger.published(entry)

    async def _receive(self, message: Message) -> None:
        """Take what an agent says of itself; what is not genuine is not read any further."""
        at = topics.place(message.topic)
        if at is None or at.workstation != self._workstation or not message.payload:
            return
        try:
            if at.leaf is AVAIL:
                await self._notice(at.appliance, strict_json(message.payload))
            elif at.leaf is REPORTED:
                await self._take_report(at, message.payload)
        except (EnvelopeRefused, NoSuchObject):
            return

    async def _take_report(self, at: Place, payload: bytes) -> None:
        key = await self._ledger.key(at.appliance)
        report = report_from(unseal(payload, at, key, now=self._clock.wall()).body)
        await self._ledger.keep_report(at.appliance, report.to_json())
        if self._heard is not None:
            self._heard(at.appliance, report)
        await self._conclude(at.appliance, report)
        async with self._changed:
            self._reports[at.appliance] = report
            self._changed.notify_all()

    async def _conclude(self, appliance: str, report: Report) -> None:
        """Write down how a trial ended; what went back is no longer desired."""
        if report.asked is None:
            return
        if report.outcome in (Outcome.WENT_BACK, Outcome.BROKEN):
            desired = await self._ledger.gone_back(appliance, report.reason, version=report.asked)
        elif report.outcome in (Outcome.CONFIRMED, Outcome.APPLIED) and report.running == report.asked:
            desired = await self._ledger.confirmed(appliance, report.asked)
        else:
            return
        if desired is not None:
            self._committed.set()
            if self._concluded is not None:
                self._concluded(desired)

    async def _notice(self, appliance: str, said: Mapping[str, Any]) -> None:
        """Birth and last will; a will of an earlier connection says nothing of this one."""
        session, state = said.get("session"), said.get("state")
        if not isinstance(session, str):
            return
        if state == "online":
            self._sessions[appliance] = session
        elif self._sessions.get(appliance, session) != session:
            return
        async with self._changed:
            self._present[appliance] = state == "online"
            self._changed.notify_all()


def report_from(body: Mapping[str, Value]) -> Report:
    """A report out of a message's body; EnvelopeRefused where it is none."""
    try:
        return Report(
            Outcome(str(body["outcome"])),
            str(body["reason"]),
            _version(body["asked"]),
            _version(body["running"]),
            str(body["digest"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EnvelopeRefused(f"a report must have outcome, reason, asked, running and digest: {error}") from error


def _version(value: Value) -> Version | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError("a version must be an object")
    epoch, generation = value["epoch"], value["generation"]
    if not isinstance(epoch, int) or not isinstance(generation, int):
        raise TypeError("a version must have integers")
    return Version(epoch, generation)

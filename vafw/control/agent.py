"""The agent of one appliance: takes what is desired, checks it, applies it as a transaction, reports what became of it.

             ┌─ not an envelope, foreign signature, wrong target, expired ─▶ refused
    desired ─┼─ lower than what runs, or another body under the same number ─▶ refused
             ├─ what runs already ─▶ applied (said again)
             ├─ newer, other than what runs, and not signed by the people who must ─▶ refused
             └─ newer ─▶ apply ─healthy─▶ applied, or on trial ─confirmed in time─▶ confirmed
                           │                    └─ no confirmation ─▶ apply what was confirmed last ─▶ went back
                           └─unhealthy, raised, too late─▶ apply what was confirmed last ─▶ went back

A trial's deadline is the agent's own: neither a controller nor a broker that dies can keep what nobody confirmed. A
confirmation is the same generation once more, without a trial; what went back is never tried again.

One code for modelled and real guests: what applying means is the `Applier`'s business. The agent trusts the
controller's signature, not the broker, and where it has a charter not the controller either: what changes anything must
have been signed by people, whose keys came with the measured plan. It remembers only what runs, so that it can be
killed at any time.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vafw.clock import Clock
from vafw.control import topics
from vafw.control.approval import Charter
from vafw.control.bus import Bus, BusLost, Line, Message, Will
from vafw.control.envelope import Envelope, EnvelopeRefused, Version, seal, unseal
from vafw.control.pacing import Pacing
from vafw.control.topics import AVAIL, DESIRED, EVENT, REPORTED, Place
from vafw.machine.authority import Authority
from vafw.machine.report import Health
from vafw.trace import Value
from vafw.traffic.trial import Phase, Trial

APPLY_TIMEOUT_S: Final = 20.0
"""How long applying and probing may take; later counts as failed."""
REPORT_LIFETIME: Final = timedelta(days=7)


class Applier(Protocol):
    """What makes a configuration effective."""

    async def apply(self, config: Mapping[str, Value]) -> Health:
        """Put `config` in force between two packets and probe; where it is not healthy the old one stays."""
        ...


class Outcome(StrEnum):
    """What became of a desired configuration."""

    STARTED = "started"
    """Nothing was asked yet: what runs is what the appliance began with."""
    APPLIED = "applied"
    REFUSED = "refused"
    ON_TRIAL = "on-trial"
    """In force, and gone again unless it is confirmed in time."""
    CONFIRMED = "confirmed"
    WENT_BACK = "went-back"
    BROKEN = "broken"
    """Going back failed too."""


@dataclass(frozen=True, slots=True)
class Running:
    """The configuration in force."""

    version: Version | None
    """None: what the appliance was started with."""
    digest: str
    config: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Spent:
    """A generation whose trial ended badly, and why."""

    version: Version
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent says after every message."""

    outcome: Outcome
    reason: str
    asked: Version | None
    """The version that this is the answer to, as far as the message could be read."""
    running: Version | None
    digest: str
    """Of the configuration that runs."""

    def to_json(self) -> dict[str, Value]:
        """The body of the message."""
        return {
            "outcome": self.outcome.value,
            "reason": self.reason,
            "asked": self.asked.to_json() if self.asked else None,
            "running": self.running.to_json() if self.running else None,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is and whom it obeys."""

    workstation: str
    appliance: str
    key: Ed25519PrivateKey
    controller: Ed25519PublicKey
    authority: Authority | None = None
    """Whose signatures a change needs besides; None: nobody's."""

    @property
    def charter(self) -> Charter | None:
        """What signatures are held against; None where none are needed."""
        if self.authority is None:
            return None
        return Charter(self.workstation, self.appliance, self.controller, self.authority)

    def place(self, leaf: topics.Leaf) -> Place:
        """One of its own topics."""
        return Place(self.workstation, self.appliance, leaf)

    def topic(self, leaf: topics.Leaf) -> str:
        """The name of one of its own topics."""
        return topics.topic(self.workstation, self.appliance, leaf)


@final
class Agent:
    """The agent of one appliance."""

    def __init__(
        self,
        identity: Identity,
        line: Line,
        applier: Applier,
        clock: Clock,
        *,
        started_with: Running,
        floor: Version | None = None,
        spent: Spent | None = None,
        kept: Callable[[Running, Spent | None], None] = lambda _running, _spent: None,
    ) -> None:
        """`started_with` runs already; nothing below `floor` is ever applied, whoever signed it.

        `spent` is what the agent before this one tried last (its `spent`): it may be in force still and is not to be,
        so that `run` puts `started_with` in force again before anything else. `kept` is told what the agent after this
        one is to be started with, whenever it is something else than before: before a trial, and after it.
        """
        self._identity = identity
        self._line = line
        self._applier = applier
        self._clock = clock
        self._running = self._before = started_with
        self._floor = floor
        self._kept = kept
        self._spent = self._inherited = spent
        self._trial: Trial[Running] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._deciding = asyncio.Lock()
        self._bus: Bus | None = None
        self._last = self._report(Outcome.STARTED, "the appliance runs what it was started with", None)

    @property
    def running(self) -> Running:
        """What is in force."""
        return self._running

    @property
    def confirmed(self) -> Running:
        """What is in force, or would be again if a trial ended now."""
        return self._before if self._trying else self._running

    @property
    def spent(self) -> Spent | None:
        """What the agent after this one must not try: what went back last, or is on trial now."""
        if self._trying and self._running.version is not None:
            return Spent(self._running.version, "the agent ended before it was confirmed")
        return self._spent

    @property
    def last(self) -> Report:
        """What it said last."""
        return self._last

    async def run(self) -> None:
        """Serve for ever, connecting again whenever the bus is lost."""
        pacing = Pacing(self._clock)
        try:
            await self._give_up_inherited()
            while True:
                try:
                    await self._serve(pacing)
                except BusLost:
                    await pacing.pause()
        finally:
            self._stop_waiting()

    async def take(self, payload: bytes) -> Report:
        """Decide on one desired configuration, and apply it if it may be."""
        try:
            envelope = self._open(payload)
        except EnvelopeRefused as refusal:
            return self._report(Outcome.REFUSED, refusal.message, None)
        async with self._deciding:
            if reason := self._refusal(envelope):
                return self._report(Outcome.REFUSED, reason, envelope.version)
            if envelope.version == self._running.version:
                return await self._said_again(envelope)
            if self._spent is not None and envelope.version == self._spent.version:
                return self._report(Outcome.WENT_BACK, self._spent.reason, envelope.version)
            if reason := self._unapproved(envelope):
                return self._report(Outcome.REFUSED, reason, envelope.version)
            return await self._transact(envelope)

    # -- the bus ----------------------------------------------------------------------------------------------

    async def _serve(self, pacing: Pacing) -> None:
        session = secrets.token_hex(8)
        will = Will(self._identity.topic(AVAIL), _presence("lost", session))
        async with self._line.connect(will) as bus:
            await bus.publish(will.topic, _presence("online", session), retain=True)
            await self._say(bus, self._last)
            await bus.subscribe(self._identity.topic(DESIRED))
            pacing.succeeded()
            self._bus = bus
            try:
                async for message in bus.messages():
                    await self._receive(bus, message)
            finally:
                self._bus = None

    async def _receive(self, bus: Bus, message: Message) -> None:
        """A tombstone asks for nothing: an appliance that is no longer managed keeps what it has."""
        if message.topic == self._identity.topic(DESIRED) and message.payload:
            await self._say(bus, await self.take(message.payload))

    async def _say(self, bus: Bus, report: Report) -> None:
        for leaf in (REPORTED, EVENT):
            data = seal(
                self._identity.place(leaf),
                report.running or Version(1, 1),
                report.to_json(),
                self._identity.key,
                now=self._clock.wall(),
                lifetime=REPORT_LIFETIME,
            )
            await bus.publish(self._identity.topic(leaf), data, retain=leaf.retained)

    # -- decisions --------------------------------------------------------------------------------------------

    def _open(self, payload: bytes) -> Envelope:
        return unseal(payload, self._identity.place(DESIRED), self._identity.controller, now=self._clock.wall())

    def _refusal(self, envelope: Envelope) -> str:
        """Why a genuine message is not applied; empty where it may be."""
        running, asked = self._running.version, envelope.version
        if self._floor is not None and asked < self._floor:
            return f"generation {asked} must not be lower than {self._floor}, which was committed before the start"
        if running is not None and asked < running:
            return f"generation {asked} must not be lower than {running}, which runs"
        if asked == running and envelope.digest != self._running.digest:
            return f"generation {asked} must have the body it had before, and has another"
        return ""

    def _unapproved(self, envelope: Envelope) -> str:
        """Why people have not allowed a newer generation; empty where they have, or where it changes nothing.

        Whoever holds the controller's key may thus count generations up, or end a trial early, and no more.
        """
        charter = self._identity.charter
        if charter is None or (envelope.trial_s is None and envelope.digest == self.confirmed.digest):
            return ""
        return charter.refusal(envelope, self._clock.wall())

    async def _transact(self, envelope: Envelope) -> Report:
        before = self.confirmed
        self._end_trial(before)
        if envelope.trial_s is not None:  # until it is healthy and waited for: whoever follows must not try it
            self._spent = Spent(envelope.version, "the agent ended before it was confirmed")
            self._kept(before, self._spent)
        health = await self._try(envelope.body)
        if not health.healthy:
            return await self._go_back(before, health.reason, envelope.version)
        self._running = Running(envelope.version, envelope.digest, envelope.body)
        if envelope.trial_s is None:
            self._spent = None
            self._kept(self._running, None)
            return self._report(Outcome.APPLIED, health.reason, envelope.version)
        now_s = self._clock.monotonic()
        self._before = before
        self._trial = Trial(before, self._running, now_s=now_s, patience_s=envelope.trial_s)
        self._waiting = asyncio.create_task(self._wait_for_end(self._trial, envelope.version))
        return self._report(Outcome.ON_TRIAL, self._on_trial(), envelope.version)

    async def _go_back(self, to: Running, reason: str, asked: Version) -> Report:
        """Put in force what was confirmed last, because `asked` is not to stay."""
        self._end_trial(to)
        if self._spent is not None and self._spent.version == asked:
            self._spent = Spent(asked, reason)
            self._kept(to, self._spent)
        back = await self._try(to.config)
        if back.healthy:
            return self._report(Outcome.WENT_BACK, reason, asked)
        return self._report(Outcome.BROKEN, f"{reason}; going back failed too: {back.reason}", asked)

    # -- trials -----------------------------------------------------------------------------------------------

    @property
    def _trying(self) -> bool:
        return self._trial is not None

    async def _said_again(self, envelope: Envelope) -> Report:
        """The generation that runs once more: said without the trial it is on, it is confirmed."""
        trial, version, charter = self._trial, envelope.version, self._identity.charter
        if trial is None:
            return self._report(Outcome.APPLIED, "it runs already", version)
        phase = trial.passed(self._clock.monotonic())
        if phase is Phase.TRYING and envelope.trial_s is not None:
            return self._report(Outcome.ON_TRIAL, self._on_trial(), version)
        if phase is Phase.TRYING and charter and (reason := charter.refusal_to_stay(envelope, self._clock.wall())):
            return self._report(Outcome.REFUSED, reason, version)
        if trial.confirm(self._clock.monotonic()) is Phase.ROLLED_BACK:
            return await self._go_back(trial.in_force, trial.reason, version)
        self._spent = None
        self._end_trial(self._running)
        self._kept(self._running, None)
        return self._report(Outcome.CONFIRMED, "it was confirmed in time", version)

    async def _wait_for_end(self, trial: Trial[Running], version: Version) -> None:
        """Let the trial's time pass; what nobody confirmed by then goes back, bus or no bus."""
        await self._clock.sleep(trial.deadline_s - self._clock.monotonic())
        async with self._deciding:
            if self._trial is not trial or trial.passed(self._clock.monotonic()) is not Phase.ROLLED_BACK:
                return
            self._waiting = None  # this task: going back ends the trial, and must not end who does it
            report = await self._go_back(trial.in_force, trial.reason, version)
        if self._bus is not None:
            with suppress(BusLost):  # it is said again on the next connection
                await self._say(self._bus, report)

    async def _give_up_inherited(self) -> None:
        """What an agent before this one left on trial goes back before anything is heard."""
        spent, self._inherited = self._inherited, None
        if spent is not None:
            async with self._deciding:
                await self._go_back(self._running, spent.reason, spent.version)

    def _end_trial(self, running: Running) -> None:
        """No trial any more, and `running` is what is in force, or is about to be."""
        self._stop_waiting()
        self._trial, self._running = None, running

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _on_trial(self) -> str:
        assert self._trial is not None
        left_s = max(0.0, self._trial.deadline_s - self._clock.monotonic())
        deadline = (self._clock.wall() + timedelta(seconds=left_s)).strftime("%H:%M:%S")
        return f"it goes back at {deadline} UTC unless it is confirmed"

    async def _try(self, config: Mapping[str, Value]) -> Health:
        """Apply and probe; whatever goes wrong is a health."""
        late = Health(False, f"it was not healthy within {APPLY_TIMEOUT_S:g} s")
        applying = asyncio.ensure_future(self._applier.apply(config))
        waiting = asyncio.ensure_future(self._clock.sleep(APPLY_TIMEOUT_S))
        try:
            await asyncio.wait((applying, waiting), return_when=asyncio.FIRST_COMPLETED)
            return applying.result() if applying.done() else late
        except Exception as error:
            return Health(False, f"applying it failed: {type(error).__name__}: {error}")
        finally:
            applying.cancel()
            waiting.cancel()
            await asyncio.gather(applying, waiting, return_exceptions=True)

    def _report(self, outcome: Outcome, reason: str, asked: Version | None) -> Report:
        self._last = Report(outcome, reason, asked, self._running.version, self._running.digest)
        return self._last


def _presence(state: str, session: str) -> bytes:
    return json.dumps({"state": state, "session": session}).encode()

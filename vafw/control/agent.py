"""The agent of one appliance: takes what is desired, checks it, applies it as a transaction, reports what became of it.

             ┌─ not an envelope, foreign signature, wrong target, expired ─▶ refused
    desired ─┼─ lower than what runs, or another body under the same number ─▶ refused
             ├─ what runs already ─▶ applied (said again)
             └─ newer ─▶ apply ─healthy─▶ applied
                           └─unhealthy, raised, too late─▶ apply what ran before ─▶ went back

One code for modelled and real guests: what applying means is the `Applier`'s business. The agent trusts the
controller's signature, not the broker; it remembers only what runs, so that it can be killed at any time.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vafw.clock import Clock
from vafw.control import topics
from vafw.control.bus import Bus, BusLost, Line, Message, Will
from vafw.control.envelope import Envelope, EnvelopeRefused, Version, seal, unseal
from vafw.control.pacing import Pacing
from vafw.control.topics import AVAIL, DESIRED, EVENT, REPORTED, Place
from vafw.machine.report import Health
from vafw.trace import Value

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
        kept: Callable[[Running], None] = lambda _running: None,
    ) -> None:
        """`started_with` runs already; nothing below `floor` is ever applied, whoever signed it.

        `kept` is told what runs, whenever it is something else than before.
        """
        self._identity = identity
        self._line = line
        self._applier = applier
        self._clock = clock
        self._running = started_with
        self._floor = floor
        self._kept = kept
        self._last = self._report(Outcome.STARTED, "the appliance runs what it was started with", None)

    @property
    def running(self) -> Running:
        """What is in force."""
        return self._running

    @property
    def last(self) -> Report:
        """What it said last."""
        return self._last

    async def run(self) -> None:
        """Serve for ever, connecting again whenever the bus is lost."""
        pacing = Pacing(self._clock)
        while True:
            try:
                await self._serve(pacing)
            except BusLost:
                await pacing.pause()

    async def take(self, payload: bytes) -> Report:
        """Decide on one desired configuration, and apply it if it may be."""
        try:
            envelope = self._open(payload)
        except EnvelopeRefused as refusal:
            return self._report(Outcome.REFUSED, refusal.message, None)
        if reason := self._refusal(envelope):
            return self._report(Outcome.REFUSED, reason, envelope.version)
        if envelope.version == self._running.version:
            return self._report(Outcome.APPLIED, "it runs already", envelope.version)
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
            async for message in bus.messages():
                await self._receive(bus, message)

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

    async def _transact(self, envelope: Envelope) -> Report:
        before = self._running
        health = await self._try(envelope.body)
        if health.healthy:
            self._running = Running(envelope.version, envelope.digest, envelope.body)
            self._kept(self._running)
            return self._report(Outcome.APPLIED, health.reason, envelope.version)
        back = await self._try(before.config)
        if back.healthy:
            return self._report(Outcome.WENT_BACK, health.reason, envelope.version)
        reason = f"{health.reason}; going back failed too: {back.reason}"
        return self._report(Outcome.BROKEN, reason, envelope.version)

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

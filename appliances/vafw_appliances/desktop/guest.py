"""The user OS's program: a small desktop that speaks to the network and shows on its screen what came of it.

Three modes, by its configuration:

    stack   it is a host of its own (`stack.py`) and does what its traffic script says (`script.py`)
    replay  the frames it sends come from a capture, by its port ``user``; those it receives go out there
    bridge  the same with a real machine behind that port

In every mode it keeps a journal (`journal.py`) and draws it (`screen.py`). It belongs to no trusted part of the
machine: nothing here is relied on to keep the rest safe.

Configuration: ``mode``, ``name``, ``mac``, ``addresses`` (with prefix length), ``gateway``, ``resolvers`` (the gateways
where it is absent), ``script``; all but ``mode`` may be absent in replay and bridge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_interface
from typing import Final, final

from vafw.trace import Value
from vafw.traffic.appliance import OUTSIDE, Outcome, Verdict
from vafw.traffic.host.stack import Stack
from vafw_appliances.desktop.journal import Journal
from vafw_appliances.desktop.screen import Picture, draw
from vafw_appliances.desktop.script import Script

USER: Final = "user"
"""The port of the capture or tap that takes the user's place."""
STACK: Final = "stack"
MODES: Final = (STACK, "replay", "bridge")
TIMER_PERIOD_S: Final = 0.1
IDLE_PERIOD_S: Final = 3600.0
REPORTED: Final = 100
"""Entries of the journal in a report, the latest."""


def create(config: Mapping[str, Value]) -> Host | Passage:
    """The program; ValueError says what is wrong with its configuration."""
    mode = config.get("mode", STACK)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    name = str(config.get("name", "user-os"))
    return Host(name, *_host(config)) if mode == STACK else Passage(name, str(mode))


def _host(config: Mapping[str, Value]) -> tuple[Stack, Script]:
    mac = bytes.fromhex(str(config.get("mac", "")).replace(":", ""))
    if len(mac) != 6:
        raise ValueError(f"mac must be six bytes as aa:bb:cc:dd:ee:ff, not {config.get('mac')!r}")
    gateways = [ip_address(each) for each in _texts(config, "gateway")]
    stack = Stack(mac, [ip_interface(each) for each in _texts(config, "addresses")], gateways)
    resolvers = [ip_address(each) for each in _texts(config, "resolvers")] or gateways
    steps = config.get("script", [])
    if not isinstance(steps, list):
        raise ValueError(f"script must be a list of steps, not {steps!r}")
    return stack, Script(stack, resolvers, steps)


def _texts(config: Mapping[str, Value], key: str) -> list[str]:
    value = config.get(key, [])
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{key} must be a list of addresses, not {value!r}")
    return [str(each) for each in value]


@final
class Desk:
    """What both kinds of desktop have: a name, a journal, and the time as they last heard it."""

    def __init__(self, name: str, mode: str) -> None:
        self.journal = Journal()
        self._name = name
        self._mode = mode
        self._began_s: float | None = None
        self._now_s = 0.0

    def tick(self, now_s: float) -> None:
        """It is `now_s`."""
        self._now_s = now_s
        if self._began_s is None:
            self._began_s = now_s

    def report(self) -> dict[str, Value]:
        """What the journal noticed."""
        journal = self.journal
        return {
            "mode": self._mode,
            "frames-in": journal.frames_in,
            "frames-out": journal.frames_out,
            "bytes-in": journal.bytes_in,
            "bytes-out": journal.bytes_out,
            "activity": [each.to_json() for each in journal.entries[-REPORTED:]],
        }

    def draw(self) -> Picture:
        """The desktop as it looks now."""
        return draw(self._name, self._mode, self.journal, self._now_s - (self._began_s or 0.0))


@final
class Passage:
    """The user's side is elsewhere, in a capture or behind a tap: frames pass, unchanged, and are noticed."""

    def __init__(self, name: str, mode: str) -> None:
        """`mode` says what is behind the port ``user``."""
        self._desk = Desk(name, mode)
        self._mode = mode

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Pass a frame on, out of the machine or to the user's side."""
        self._desk.tick(now_s)
        if port == USER:
            self._desk.journal.sent(frame)
            return Verdict(Outcome.PASSED, "(sent)", ((OUTSIDE, frame),))
        self._desk.journal.received(frame)
        return Verdict(Outcome.PASSED, "(received)", ((USER, frame),))

    def probe(self) -> tuple[bool, str]:
        """There is nothing in it that could fail."""
        return True, f"{self._mode}: another machine's frames pass"

    def report(self) -> Mapping[str, Value]:
        """What the journal noticed."""
        return self._desk.report()

    def draw(self) -> Picture:
        """The desktop as it looks now."""
        return self._desk.draw()


@final
class Host:
    """The user's side is here: a stack, and a script for it."""

    def __init__(self, name: str, stack: Stack, script: Script) -> None:
        """The script begins with the first `on_timer`."""
        self._desk = Desk(name, STACK)
        self._stack = stack
        self._script = script

    @property
    def deadline_s(self) -> float | None:
        """When `on_timer` has something to do; None where the script is over."""
        return self._script.deadline_s

    @property
    def timer_period_s(self) -> float:
        """How often `on_timer` wants to be called: hardly ever once the script is over."""
        return IDLE_PERIOD_S if self._script.is_over else TIMER_PERIOD_S

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Take a frame in, and answer it or what it sets free."""
        self._desk.tick(now_s)
        self._desk.journal.received(frame)
        arrival = self._stack.receive(frame)
        if arrival is not None and not self._script.deliver(arrival, now_s):
            self._stack.refuse(arrival)
        emit = self._outgoing()
        return Verdict(Outcome.ANSWERED if emit else Outcome.PASSED, "(received)", emit)

    def on_timer(self, now_s: float) -> Sequence[tuple[str, bytes]]:
        """Begin the script, or go on with what has waited long enough; the frames to send, each with its port."""
        self._desk.tick(now_s)
        self._script.advance(now_s)
        return self._outgoing()

    def probe(self) -> tuple[bool, str]:
        """Whether it can speak to the network at all."""
        addresses = ", ".join(str(each) for each in self._stack.addresses)
        return bool(addresses), f"its addresses are {addresses}" if addresses else "it has no address"

    def report(self) -> Mapping[str, Value]:
        """What the script came to, and what the journal noticed."""
        return {**self._desk.report(), "script-over": self._script.is_over, "steps": self._script.results[:]}

    def draw(self) -> Picture:
        """The desktop as it looks now."""
        return self._desk.draw()

    def _outgoing(self) -> tuple[tuple[str, bytes], ...]:
        frames = tuple((OUTSIDE, frame) for frame in self._stack.outbox)
        self._stack.outbox.clear()
        for _, frame in frames:
            self._desk.journal.sent(frame)
        return frames

"""The proxy: stands in the path, and is the only one of the user's side that asks the web.

    frame ─▶ malformed? forged? ─▶ drop
          ─▶ not for the proxy's addresses ─▶ pass, unchanged
          ─▶ `Network` (neighbours, echo, TCP, DNS) ─▶ `Session` of its connection ─▶ frames of both sides

It takes requests of HTTP on one port, inside, decides by its lists (`decision.py`) and asks in its own name: the origin
sees the proxy's address, and so do the rules of the firewall behind it, which is how a policy lets the proxy out and
nobody else. TLS is not opened: of a tunnel it knows the name that was asked for and the bytes that pass.

Configuration: ``mac``, ``addresses`` (with prefix length), ``gateway``, ``resolvers`` (the gateways where it is
absent), ``port``, ``allow``, ``block``, ``clients``. Sequence numbers, ports and ids of queries are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from secrets import token_bytes
from typing import Final

from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict, opposite
from vafw.traffic.frame import Malformed, parse
from vafw.traffic.host.tcp import Connection
from vafw_appliances.proxy.decision import Site
from vafw_appliances.proxy.network import MOST_CONNECTIONS, Network
from vafw_appliances.proxy.passage import Concern, Passage
from vafw_appliances.proxy.record import Record
from vafw_appliances.proxy.resolver import Random
from vafw_appliances.proxy.session import Session
from vafw_appliances.proxy.settings import Settings

PASSED: Final = "(passed)"
MALFORMED: Final = "(malformed)"
FORGED: Final = "(forged)"
PROXY: Final = "(proxy)"
TIMER_PERIOD_S: Final = 0.2
"""How exact timeouts are: a fifth of the shortest."""


def create(config: Mapping[str, Value], random: Random = token_bytes) -> PacketAppliance:
    """The proxy of `config`; ValueError says what is wrong with it."""
    return Proxy(Settings.from_config(config), random)


class Proxy:
    """An inline appliance with two ports."""

    timer_period_s: Final = TIMER_PERIOD_S

    def __init__(self, settings: Settings, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._passage = Passage(settings.station)
        self._network = Network(settings.station, random)
        self._record = Record()
        self._sessions: dict[Connection, Session] = {}
        """Each session by its client's connection."""
        self._origins: dict[Connection, Session] = {}
        """Those that have one by their connection to an origin."""
        self._frames = {PASSED: 0, MALFORMED: 0, FORGED: 0, PROXY: 0}

    def reconfigured(self, config: Mapping[str, Value]) -> Proxy:
        """The proxy that follows this one: with other lists its connections go on, as far as those let them.

        One that is another host begins anew, and connections to the old one are nobody's.
        """
        settings = Settings.from_config(config)
        if settings.station != self._settings.station:
            return Proxy(settings, self._random)
        follower = copy(self)  # of two that share connections and counts only one is handed frames
        follower._settings = settings
        return follower

    def start(self, now_s: float) -> Iterable[tuple[str, bytes]]:
        """Judge what is under way by the lists as they are now."""
        for session in self._sessions.values():
            session.judge_again(self._settings.rules)
        return self.on_timer(now_s)

    def on_timer(self, now_s: float) -> Iterable[tuple[str, bytes]]:
        """What is due."""
        self._network.advance(now_s)
        for session in tuple(self._sessions.values()):
            self._step(session, now_s)
        return list(self._network.outgoing())

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Decide on one frame."""
        packet = parse(frame)
        if port not in (INSIDE, OUTSIDE) or isinstance(packet, Malformed):
            self._frames[MALFORMED] += 1
            return Verdict(Outcome.DROPPED, MALFORMED)
        concern = self._passage.concern(frame, packet)
        if concern is Concern.PASS:
            self._frames[PASSED] += 1
            return Verdict(Outcome.PASSED, PASSED, ((opposite(port), frame),))
        if concern is Concern.FORGED:
            self._frames[FORGED] += 1
            return Verdict(Outcome.DROPPED, FORGED, (), "dropped a frame that bears the proxy's address")
        self._frames[PROXY] += 1
        return self._own(port, frame, now_s)

    def probe(self) -> tuple[bool, str]:
        """Whether it is reachable, has somebody to ask, and blocks what it is to block."""
        station, rules = self._settings.station, self._settings.rules
        if not station.resolvers or not self._network.versions:
            return False, "it has no resolver or no gateway, so no site can be reached"
        first = rules.block.first
        if first is not None and rules.judge(Site(first, 80), station.addresses[0].ip).allowed:
            return False, f"a request for {first} would not be blocked"
        where = ", ".join(str(each.ip) for each in station.addresses)
        sites = f"{len(rules.allow)} sites are allowed" if len(rules.allow) else "every site is allowed"
        return True, f"it listens at {where} port {station.port}; {sites}, {len(rules.block)} blocked"

    def report(self) -> Mapping[str, Value]:
        """Frames by what became of them, connections, requests and bytes."""
        return {"frames": dict(self._frames), "open": len(self._sessions), **self._record.report()}

    def _own(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """A frame for the proxy itself."""
        touched = self._network.receive(port, frame, now_s, lambda made: self._open(made, now_s))
        session = None
        if touched is not None:
            session = self._sessions.get(touched) or self._origins.get(touched)
        waiting = [session] if session is not None else [each for each in self._sessions.values() if each.is_resolving]
        verdict = ""
        for each in waiting:
            self._step(each, now_s)
            verdict = verdict or each.verdict
        emit = tuple(self._network.outgoing())
        outcome = Outcome.REJECTED if verdict else Outcome.ANSWERED if emit else Outcome.DROPPED
        return Verdict(outcome, verdict or PROXY, emit, self._record.line())

    def _open(self, client: Connection, now_s: float) -> bool:
        """Take a client's new connection, if there is room for one."""
        if len(self._sessions) >= MOST_CONNECTIONS:
            self._make_room(now_s)
        if len(self._sessions) >= MOST_CONNECTIONS:
            self._record.turned_away += 1
            return False
        self._record.connections += 1
        self._sessions[client] = Session(client, self._network, self._record, now_s)
        return True

    def _make_room(self, now_s: float) -> None:
        """Forget the session that has been settled for longest, if one is."""
        settled = next((each for each in self._sessions.values() if each.is_settled), None)
        if settled is not None:
            settled.forget()
            self._step(settled, now_s)

    def _step(self, session: Session, now_s: float) -> None:
        session.step(self._settings.rules, self._settings.station.addresses, now_s)
        if session.origin is not None and self._origins.get(session.origin) is not session:
            self._origins = {key: value for key, value in self._origins.items() if value is not session}
            self._origins[session.origin] = session
        if session.is_over:
            self._sessions.pop(session.client, None)
            if session.origin is not None:
                self._origins.pop(session.origin, None)

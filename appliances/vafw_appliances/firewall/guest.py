"""The firewall: passes, drops or rejects each frame as the policy's rules say, and follows connections.

The rules come compiled in `config["ruleset"]` (`vafw.traffic.rule.Ruleset.to_config`); the deciding is
`vafw.traffic.engine`'s. This program adds what an appliance owes its surroundings: the answer to a rejected packet
(back by the port it came from, in the name of the host that was asked), a log line where a rule wants one, the report.
It is transparent unless `config["router"]` gives it addresses of its own (`router.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict, opposite
from vafw.traffic.build import refusal
from vafw.traffic.engine import Decision, Engine
from vafw.traffic.frame import Frame
from vafw.traffic.name_notice import is_notice, read_notice
from vafw.traffic.reason import DEFAULT, MALFORMED, PASSING
from vafw.traffic.routed import Links
from vafw.traffic.rule import PROTOCOL_NAMES, Action, Ruleset
from vafw.traffic.uplinks import ASK_EVERY_S
from vafw_appliances.firewall.router import Router

NAMES: Final = "(names)"
REPORTED_FLOWS: Final = 200
"""Flows in a report at most, the latest."""


def create(config: Mapping[str, Value]) -> PacketAppliance:
    """The firewall with `config["ruleset"]`; ValueError says in a sentence what is wrong with it."""
    if "router" not in config:
        return Firewall(Engine(_ruleset(config)))
    links = Links.from_config(config["router"])
    router = Router(links)
    engine = Engine(_ruleset(config), own=links.own_addresses(), choose_uplink=router.uplinks.choose)
    return Firewall(engine, router) if not links.further else MultihomedFirewall(engine, router)


def _ruleset(config: Mapping[str, Value]) -> Ruleset:
    if "ruleset" not in config:
        raise ValueError("the firewall's config must have a ruleset, which `vafw` compiles from the policy")
    return Ruleset.from_config(config["ruleset"])


class Firewall:
    """An inline appliance with two ports."""

    def __init__(self, engine: Engine, router: Router | None = None) -> None:
        self._engine = engine
        self._router = router
        self._ports = router.ports if router is not None else (INSIDE, OUTSIDE)

    def reconfigured(self, config: Mapping[str, Value]) -> Firewall:
        """The firewall that follows this one with other rules: it keeps the connections that they would allow."""
        return type(self)(self._engine.succeeded_by(_ruleset(config)), self._router)

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Decide on one frame."""
        if port not in self._ports:
            return Verdict(Outcome.DROPPED, "(port)")
        if port == INSIDE and is_notice(frame) and self._engine.conditions.names.patterns:
            return self._learn(frame, now_s)
        if self._router is not None:
            verdict, routed = self._router.handle(self._engine, port, frame, now_s)
            line = _line(routed, port) if routed is not None and routed.log else ""
            news = self._router.take_news()
            return replace(verdict, log="; ".join(filter(None, (news, line)))) if news or line else verdict
        decision = self._engine.decide(frame, port, now_s)
        if decision.action is Action.ACCEPT:
            log = _line(decision, port) if decision.log else ""
            return Verdict(Outcome.PASSED, decision.rule, ((opposite(port), frame),), log)
        log = _line(decision, port) if decision.log else ""
        packet = decision.packet
        if decision.action is Action.REJECT and isinstance(packet, Frame):
            answer = refusal(frame, packet)
            if answer is not None:
                return Verdict(Outcome.REJECTED, decision.rule, ((port, answer),), log)
        return Verdict(Outcome.DROPPED, decision.rule, (), log)

    def clock_set(self, wall_offset_s: float | None) -> None:
        """The date, which rules with a window of time depend on."""
        self._engine.conditions.wall_offset_s = wall_offset_s

    def _learn(self, frame: bytes, now_s: float) -> Verdict:
        """Take what the DNS filter behind tells: the addresses of names that rules speak of."""
        told = read_notice(frame)
        if told is None:
            return Verdict(Outcome.DROPPED, MALFORMED)
        for each in told:
            self._engine.conditions.names.learn(each.name, each.version, each.address, each.ttl_s, now_s)
        return Verdict(Outcome.ANSWERED, NAMES)

    def probe(self) -> tuple[bool, str]:
        """Decide on a frame that no firewall may pass, with an engine of the same rules that counts for nothing."""
        decision = Engine(self._engine.ruleset, own=self._engine.own).decide(bytes(14), OUTSIDE, 0.0)
        rules = len(self._engine.ruleset.rules)
        if decision.action is Action.ACCEPT:
            return False, "the firewall passed a frame of an unknown EtherType"
        return True, f"{rules} rules decide, and a frame of an unknown EtherType is dropped by {decision.rule}"

    def report(self) -> Mapping[str, Value]:
        """Packets by rule, the latest flows, malformed frames by reason, and the connection table."""
        engine = self._engine
        rules: dict[str, Value] = {
            name: {"outcome": self._outcome(name), "packets": count.packets, "bytes": count.bytes}
            for name, count in engine.counts.items()
        }
        rules.setdefault(DEFAULT, {"outcome": self._outcome(DEFAULT), "packets": 0, "bytes": 0})
        flows: list[Value] = [flow.to_json() for flow in list(engine.flows)[-REPORTED_FLOWS:]]
        return {
            "rules": rules,
            "default": engine.ruleset.default.value,
            "flows": flows,
            "malformed": dict(engine.malformed),
            **({"router": self._router.report()} if self._router is not None else {}),
            "connections": {
                "open": len(engine.connections),
                "evicted": engine.connections.evicted,
                "refused": engine.connections.refused,
            },
        }

    def _outcome(self, rule: str) -> str:
        """The action of a rule, or of a reason that is none."""
        ruleset = self._engine.ruleset
        actions = {each.name: each.action for each in ruleset.rules} | {DEFAULT: ruleset.default}
        return actions.get(rule, Action.ACCEPT if rule in PASSING else Action.DROP).value


class MultihomedFirewall(Firewall):
    """A firewall with several ways to the wire, which it asks by itself whether they are there."""

    timer_period_s: Final = ASK_EVERY_S

    def start(self, now_s: float) -> Iterator[tuple[str, bytes]]:
        """The first questions."""
        assert self._router is not None, "only a router has uplinks"
        self._router.uplinks.begin(now_s)
        return self.on_timer(now_s)

    def on_timer(self, now_s: float) -> Iterator[tuple[str, bytes]]:
        """Questions to the next hops."""
        assert self._router is not None, "only a router has uplinks"
        return self._router.look_after_uplinks(self._engine, now_s)


def _line(decision: Decision, port: str) -> str:
    packet = decision.packet
    if not isinstance(packet, Frame) or not packet.version:
        return f"{decision.action.value} {decision.rule}"
    address = IPv4Address if packet.version == 4 else IPv6Address
    protocol = PROTOCOL_NAMES.get(packet.protocol, str(packet.protocol))
    source, destination = str(address(packet.source)), str(address(packet.destination))
    if packet.source_port or packet.destination_port:
        source, destination = f"{source} {packet.source_port}", f"{destination} {packet.destination_port}"
    elif packet.icmp_type or packet.icmp_id:
        protocol += f" type {packet.icmp_type}"
    noted = f"{decision.logged_by}, then " if decision.logged_by else ""
    return f"{noted}{decision.action.value} {decision.rule}: {protocol} from {source} ({port}) to {destination}"

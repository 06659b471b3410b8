"""What would have become of the frames of a capture: each is put to the rules of every hop that has some, in order.

Stateful, as the appliances are: a reply passes because what it replies to did. A frame whose source MAC is that of the
wire's network function, or the one that the user OS has behind a router, comes from the user, any other from the wire.
The capture is one of the user's interface, so nothing is translated: there, addresses are as the rules see them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from vafw.document.load import DocumentSet
from vafw.plan.compile import user_mac
from vafw.plan.hops import path_hops
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.engine import Engine
from vafw.traffic.frame import Frame, Malformed
from vafw.traffic.nat import Nat
from vafw.traffic.packet_text import end_text
from vafw.traffic.pcap import CapturedFrame
from vafw.traffic.rule import PROTOCOL_NAMES, TCP, UDP, Action


@dataclass(frozen=True, slots=True)
class Replayed:
    """One frame and its fate."""

    number: int
    """From 1, as capture tools count."""
    frame: CapturedFrame
    side: str
    action: Action
    rule: str
    """The rule that decides, or a reason in parentheses."""
    hop: str
    words: str
    """The packet in words."""


@dataclass(slots=True)
class Tally:
    """How much one rule decided on."""

    action: Action
    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Totals:
    """What all frames came to."""

    by_rule: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By hop and rule, in the order in which they first decided."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Packets that did not pass, in words, with how many there were."""

    def add(self, each: Replayed) -> None:
        """Count one frame."""
        tally = self.by_rule.setdefault((each.hop, each.rule), Tally(each.action))
        tally.packets += 1
        tally.bytes += len(each.frame.data)
        if each.action is not Action.ACCEPT:
            line = f"{each.action} by {each.rule}: {each.words}"
            self.stopped[line] = self.stopped.get(line, 0) + 1

    def passed(self, *, packets: bool) -> int:
        """Packets, or bytes, that passed."""
        tallies = [each for each in self.by_rule.values() if each.action is Action.ACCEPT]
        return sum(each.packets if packets else each.bytes for each in tallies)


def replay(documents: DocumentSet, frames: Iterable[CapturedFrame]) -> Iterator[Replayed]:
    """The fate of each frame, in the capture's order; the documents must have been checked."""
    card = documents.machine.model.devices[documents.topology.model.path[0]].mac
    own = {bytes.fromhex(mac.replace(":", "")) for mac in (card, user_mac(documents)) if mac}
    engines: list[tuple[str, Engine]] = []
    first_s = 0.0
    for number, frame in enumerate(frames, start=1):
        if not engines:
            first_s = frame.time_s
            engines = [
                (hop.name, Engine(replace(hop.ruleset, nat=Nat()), wall_offset_s=first_s))
                for hop in path_hops(documents)
                if hop.ruleset
            ]
        side = INSIDE if frame.data[6:12] in own else OUTSIDE
        yield _fate(number, frame, side, engines, max(0.0, frame.time_s - first_s))


def _fate(number: int, frame: CapturedFrame, side: str, engines: list[tuple[str, Engine]], now_s: float) -> Replayed:
    found = Replayed(number, frame, side, Action.ACCEPT, "(no rules)", "", "")
    for hop, engine in engines if side == OUTSIDE else reversed(engines):
        decision = engine.decide(frame.data, side, now_s)
        words = packet_words(decision.packet, side)
        found = Replayed(number, frame, side, decision.action, decision.rule, hop, words)
        if decision.action is not Action.ACCEPT:
            break
    return found


def packet_words(packet: Frame | Malformed, side: str) -> str:
    """A frame in a few words, without what differs from one connection to the next."""
    if isinstance(packet, Malformed):
        return f"malformed ({packet.reason}), {side}"
    if not packet.version:
        return f"EtherType {packet.ethertype:#06x}, {side}"
    name = PROTOCOL_NAMES.get(packet.protocol, f"protocol {packet.protocol}")
    has_ports = packet.protocol in (TCP, UDP)
    source = end_text(packet.version, packet.source, None)
    port = packet.destination_port if has_ports and not packet.fragment_offset else None
    destination = end_text(packet.version, packet.destination, port)
    return f"{name} {source} -> {destination} {side}"

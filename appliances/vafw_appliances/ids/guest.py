"""The intrusion detection: holds every packet against its signatures, between two links or beside the path.

Inline it passes what no `drop` signature matches, unchanged; what comes in by the port `mirror` is looked at and goes
nowhere. Malformed frames are passed on: to judge them is the firewall's. The signatures come in `config["rules"]`, with
the action that the topology's section wants; the language is `vafw.traffic.signature`'s small part of Suricata's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw.trace import Value
from vafw.traffic import config as reader
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict, opposite
from vafw.traffic.frame import Frame, parse
from vafw.traffic.signature import Signature, read_signature

MIRROR: Final = "mirror"
PASSED: Final = "(passed)"
SEEN: Final = "(seen)"
RECENT: Final = 50
"""Alerts in a report at most, the latest."""


def create(config: Mapping[str, Value]) -> PacketAppliance:
    """The detection with `config["rules"]`, for the networks of `config["home"]`; ValueError says what is wrong."""
    settings = reader.mapping(dict(config), "the IDS's config", ("rules", "home"))
    home = reader.addresses(settings.get("home", []), "home")
    lines = reader.texts(settings.get("rules", []), "rules")
    return IntrusionDetection(tuple(_read(line, number, home) for number, line in enumerate(lines, 1)))


def _read(line: str, number: int, home: AddressSet) -> Signature:
    try:
        return read_signature(line, home)
    except ValueError as error:
        raise ValueError(f"rule {number}: {error}") from error


class IntrusionDetection:
    """Inline between `outside` and `inside`, or at `mirror`."""

    def __init__(self, signatures: tuple[Signature, ...]) -> None:
        self._signatures = signatures
        self._frames = 0
        self._counts: Counter[int] = Counter()
        self._recent: deque[str] = deque(maxlen=RECENT)

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Look at one frame."""
        self._frames += 1
        found = self._first(frame)
        line = "" if found is None else self._note(*found)
        if port == MIRROR:
            return Verdict(Outcome.PASSED, SEEN, (), line)
        if port not in (INSIDE, OUTSIDE):
            return Verdict(Outcome.DROPPED, "(port)")
        if found is not None and found[0].action == "drop":
            return Verdict(Outcome.DROPPED, f"sid-{found[0].sid}", (), line)
        rule = PASSED if found is None else f"sid-{found[0].sid}"
        return Verdict(Outcome.PASSED, rule, ((opposite(port), frame),), line)

    def probe(self) -> tuple[bool, str]:
        """Whether there is anything to look for."""
        if not self._signatures:
            return False, "there are no signatures to look for"
        return True, f"{len(self._signatures)} signatures are looked for"

    def report(self) -> Mapping[str, Value]:
        """How many frames were seen, alerts by signature, and the latest."""
        return {
            "frames": self._frames,
            "signatures": len(self._signatures),
            "alerts": {f"sid-{sid}": count for sid, count in sorted(self._counts.items())},
            "recent": list(self._recent),
        }

    def _first(self, frame: bytes) -> tuple[Signature, Frame] | None:
        """The first signature that matches, unless it says that the packet is to be passed."""
        packet = parse(frame)
        if not isinstance(packet, Frame) or not packet.version or packet.fragment_offset:
            return None
        for signature in self._signatures:
            if signature.matches(frame, packet):
                return None if signature.action == "pass" else (signature, packet)
        return None

    def _note(self, signature: Signature, packet: Frame) -> str:
        address = IPv4Address if packet.version == 4 else IPv6Address
        ends = f"{address(packet.source)} to {address(packet.destination)}"
        line = f"{signature.action} {signature.sid} {signature.message}: {ends}"
        self._counts[signature.sid] += 1
        self._recent.append(line)
        return line

"""An appliance to copy: passes every frame that is no longer than it may be, and counts the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vafw.trace import Value
from vafw.traffic import config as reader
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict, opposite

PASSED: Final = "(passed)"
TOO_LONG: Final = "too-long"


def create(config: Mapping[str, Value]) -> PacketAppliance:
    """What the platform calls, with the settings of the topology; ValueError says what is wrong with them."""
    settings = reader.mapping(dict(config), "the template's config", ("longest-frame",))
    return Template(reader.integer(settings.get("longest-frame", 1514), "longest-frame", 60, 65535))


class Template:
    """An inline appliance with two ports."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._counts = {PASSED: 0, TOO_LONG: 0}

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Decide on one frame: send it on by the other port, or name the rule that drops it."""
        if port not in (INSIDE, OUTSIDE):
            return Verdict(Outcome.DROPPED, "(port)")
        if len(frame) > self._longest:
            self._counts[TOO_LONG] += 1
            return Verdict(Outcome.DROPPED, TOO_LONG, (), f"dropped a frame of {len(frame)} bytes")
        self._counts[PASSED] += 1
        return Verdict(Outcome.PASSED, PASSED, ((opposite(port), frame),))

    def probe(self) -> tuple[bool, str]:
        """Try what it is for, on something that counts for nothing."""
        verdict = Template(self._longest).handle(INSIDE, bytes(self._longest + 1), 0.0)
        return verdict.outcome is Outcome.DROPPED, f"frames of more than {self._longest} bytes are dropped"

    def report(self) -> Mapping[str, Value]:
        """What people see."""
        return dict(self._counts)

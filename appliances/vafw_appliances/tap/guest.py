"""The tap: passes every frame and sends a copy to its port `mirror`, from which nothing ever comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vafw.trace import Value
from vafw.traffic import config as reader
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict, opposite

MIRROR: Final = "mirror"
PASSED: Final = "(passed)"
NOTHING_COMES_BACK: Final = "(mirror)"


def create(config: Mapping[str, Value]) -> PacketAppliance:
    """The tap; it has no settings."""
    reader.mapping(dict(config), "the tap's config", ())
    return Tap()


class Tap:
    """Inline, with one port beside the path."""

    def __init__(self) -> None:
        self._frames = {OUTSIDE: 0, INSIDE: 0}

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Pass one frame on, and its copy aside."""
        if port not in self._frames:
            return Verdict(Outcome.DROPPED, NOTHING_COMES_BACK)
        self._frames[port] += 1
        return Verdict(Outcome.PASSED, PASSED, ((opposite(port), frame), (MIRROR, frame)))

    def probe(self) -> tuple[bool, str]:
        """It can always do its work."""
        return True, "every frame is passed on and shown"

    def report(self) -> Mapping[str, Value]:
        """Frames by the port they came in by."""
        return {"frames": dict(self._frames)}

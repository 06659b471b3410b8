"""What control tests share: keys, a place, an applier that keeps what it is given, sealing in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vafw.clock import Clock
from vafw.control.agent import Agent, Identity, Running
from vafw.control.bus import Line
from vafw.control.envelope import Version, digest_of, seal
from vafw.control.topics import DESIRED, Place
from vafw.machine.report import Health
from vafw.trace import Value

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTROLLER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
AGENT_KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
FOREIGN_KEY = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
PLACE = Place("lab", "firewall", DESIRED)
START: dict[str, Value] = {"port": 0}


@dataclass
class MemoryApplier:
    """Keeps what it is given, unless that says that it is sick; in `applied` stands all that was ever in force."""

    applied: list[Mapping[str, Value]] = field(default_factory=list)

    async def apply(self, config: Mapping[str, Value]) -> Health:
        if config.get("raises"):
            raise RuntimeError("it broke")
        if config.get("sick"):
            return Health(False, "the probe failed")
        self.applied.append(config)
        return Health(True, "the probe passed")


def sealed(
    generation: int,
    body: dict[str, Value],
    *,
    epoch: int = 1,
    at: Place = PLACE,
    key: Ed25519PrivateKey = CONTROLLER_KEY,
    now: datetime = NOW,
    trial_s: float | None = None,
) -> bytes:
    return seal(at, Version(epoch, generation), body, key, now=now, lifetime=HOUR, trial_s=trial_s)


def agent_on(line: Line, applier: MemoryApplier, clock: Clock, *, floor: Version | None = None) -> Agent:
    identity = Identity("lab", "firewall", AGENT_KEY, CONTROLLER_KEY.public_key())
    return Agent(identity, line, applier, clock, started_with=Running(None, digest_of(START), START), floor=floor)

"""What control tests share: keys, a place, an applier that keeps what it is given, sealing in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vafw.clock import Clock
from vafw.control.agent import Agent, Identity, Running
from vafw.control.approval import NAMESPACE, Approval, Kind, Statement, controller_of
from vafw.control.bus import Line
from vafw.control.envelope import Version, digest_of, seal
from vafw.control.topics import DESIRED, Place
from vafw.machine.authority import Authority
from vafw.machine.report import Health
from vafw.openssh.public_key import PublicKey
from vafw.openssh.signature import sign
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
    approval: Approval | None = None,
    confirmation: Approval | None = None,
) -> bytes:
    return seal(
        at,
        Version(epoch, generation),
        body,
        key,
        now=now,
        lifetime=HOUR,
        trial_s=trial_s,
        approval=approval.to_json() if approval else None,
        confirmation=confirmation.to_json() if confirmation else None,
    )


PEOPLE = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("anna", "ben", "carla")}
"""Three people with keys; `BOTH` is of the first two."""


def key_line(name: str) -> str:
    return str(PublicKey(PEOPLE[name].public_key().public_bytes_raw()))


BOTH = Authority(2, {name: key_line(name) for name in ("anna", "ben")})


def statement(base: Version, before: dict[str, Value], after: dict[str, Value], **different: Any) -> Statement:
    """A change of the lab's firewall for good, valid for an hour, unless something else is said."""
    usual = Statement(
        kind=Kind.SET,
        workstation="lab",
        appliance="firewall",
        controller=controller_of(CONTROLLER_KEY.public_key()),
        base=base,
        before=digest_of(before),
        after=digest_of(after),
        changes=("config.port=2",),
        to=None,
        trial_s=None,
        expires=NOW + HOUR,
    )
    return replace(usual, **different)


def approved(what: Statement, *names: str) -> Approval:
    """Signed by these people."""
    return Approval(what, tuple(str(sign(what.data, NAMESPACE, PEOPLE[name])) for name in names))


def agent_on(
    line: Line,
    applier: MemoryApplier,
    clock: Clock,
    *,
    floor: Version | None = None,
    authority: Authority | None = None,
) -> Agent:
    identity = Identity("lab", "firewall", AGENT_KEY, CONTROLLER_KEY.public_key(), authority)
    return Agent(identity, line, applier, clock, started_with=Running(None, digest_of(START), START), floor=floor)

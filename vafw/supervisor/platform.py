"""What the supervisor needs of a platform: the protocols that every provider fulfils.

Not the platform itself. `vafw.provider.model` and other providers fulfil these by shape, without importing this module;
the contract suite holds each of them to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vafw.attest.attester import BootCounts
from vafw.attest.evidence import Evidence
from vafw.attest.result import AttestationResult
from vafw.attest.token import BoundResult
from vafw.machine.capability import Capability
from vafw.machine.mandate import Mandates
from vafw.machine.report import Health, IsolationCheck, LaunchStep, PlatformReport
from vafw.plan.plan import Plan
from vafw.trace import Value


class Launcher(Protocol):
    """Brings a machine from power-off to a measured VMM and lets it be attested."""

    async def launch(self) -> tuple[LaunchStep, ...]:
        """Power on and launch the VMM; a launch that is refused ends in evidence that says so, not in an exception."""
        ...

    async def evidence(self, nonce: bytes) -> Evidence:
        """A quote over the launch's PCRs for `nonce`, with the log."""
        ...

    def boot_counts(self) -> BootCounts:
        """Which boot the machine is in now, by its TPM's own counts; a result of another boot is worth nothing."""
        ...

    async def evidence_lost(self) -> str:
        """Return when there can be no evidence of this launch any more, with why; never where that cannot happen."""
        ...

    def staged_plan_digest(self) -> bytes:
        """SHA-256 of the plan as the platform holds it now, to be compared with the attested one."""
        ...

    async def power_off(self) -> None:
        """Stop whatever runs and switch off; safe to call twice."""
        ...


class Runner(Protocol):
    """Runs VMs on a launched machine."""

    async def start(self, vm: str) -> Health:
        """Start one VM, and return what its own probe says once it has booted."""
        ...

    async def stop(self, vm: str) -> None:
        """Stop one VM: its links go down, its devices to quarantine, its memory is scrubbed."""
        ...

    async def configure(self, vm: str, config: Mapping[str, Value]) -> Health:
        """Give a running VM another configuration, between two frames; where it is not healthy the old one stays."""
        ...

    async def manage(self, vm: str, mandates: Mandates | None) -> bool:
        """Have the agent inside a running VM serve from now on, at each boot with a mandate; None: no longer.

        False where guests of this platform run none: whoever asks runs one for it.
        """
        ...

    async def check_isolation(self) -> tuple[IsolationCheck, ...]:
        """Try to reach what must not be reachable."""
        ...

    async def carry(self) -> None:
        """Carry traffic until what feeds the machine has ended and the machine is idle."""
        ...

    def report(self) -> PlatformReport:
        """What the platform says of itself now."""
        ...

    def display(self) -> bytes:
        """The picture on the assigned display, as PNG."""
        ...


class Platform(Launcher, Runner, Protocol):
    """A provider, whole."""

    @property
    def capability(self) -> Capability:
        """What it can do."""
        ...


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What a verifier gave for one piece of evidence."""

    result: AttestationResult
    """For people: every claim with its reason."""
    token: str
    """For the gate: the same, signed (`vafw.attest.token`)."""


class Appraiser(Protocol):
    """The verifier as its relying party sees it."""

    async def challenge(self) -> bytes:
        """A fresh nonce, good for one appraisal."""
        ...

    async def appraise(self, evidence: Evidence, nonce: bytes, plan: Plan) -> Appraisal:
        """Appraise evidence for what `plan` is about to run; every path ends in a result."""
        ...

    def check(self, token: str, plan: Plan) -> BoundResult:
        """What a token says; ResultRefused where this verifier did not sign it, for this plan, for now."""
        ...

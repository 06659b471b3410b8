"""A machine behind the whole gate on a real swtpm: launched in software, appraised, decided on; VMs are counted.

The platform is whole but for its VMs, which are a list of names: what the tests ask is whether any was started.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from tests.provider.qemu.office import office_plan
from vafw.attest.attester import BootCounts
from vafw.attest.enrolment import Enrolments, Identity, Registrar
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.ledger import Ledger
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.attest.token import BoundResult, ResultChecker, ResultSigner
from vafw.attest.verifier import Verifier
from vafw.clock import ManualClock
from vafw.machine.capability import Capability
from vafw.machine.mandate import Mandates
from vafw.machine.report import Health, IsolationCheck, LaunchStep, PlatformReport
from vafw.plan.plan import Plan
from vafw.provider.qemu.image import GuestImage
from vafw.provider.qemu.launch import Measurements, SoftwareLaunch, measure
from vafw.provider.qemu.swtpm import Swtpm
from vafw.supervisor.platform import Appraisal, Platform
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import Trace, Value

IMAGES: Final = tuple(GuestImage(name, b"kernel", name.encode()) for name in ("firewall", "dns-filter", "desktop"))
PLAN: Final = office_plan()
ISSUER: Final = "the verifier"

Alter = Callable[[Evidence], Evidence]


class Machine:
    """A platform on one swtpm; `alter` is what happens to its evidence on the way."""

    def __init__(self, tpm: Swtpm, alter: Alter = lambda evidence: evidence, plan: Plan = PLAN) -> None:
        self.tpm, self.alter = tpm, alter
        self.started: list[str] = []
        self.images = {each.name: each for each in IMAGES}
        self.plan = plan
        self.launched = SoftwareLaunch(tpm)

    @property
    def capability(self) -> Capability:
        return ~Capability(0)

    async def launch(self) -> tuple[LaunchStep, ...]:
        steps = self.launched.begin() + self.launched.measure_plan(self.plan, IMAGES)
        return tuple(steps)

    async def evidence(self, nonce: bytes) -> Evidence:
        return self.alter(self.launched.evidence(nonce))

    async def evidence_lost(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    def boot_counts(self) -> BootCounts:
        return self.tpm.attester.boot_counts()

    def staged_plan_digest(self) -> bytes:
        return self.plan.digest

    async def power_off(self) -> None:
        return None

    async def start(self, vm: str) -> Health:
        self.launched.require_measured(self.images[PLAN.vm(vm).image.name])
        self.started.append(vm)
        return Health(True, "it runs")

    async def stop(self, vm: str) -> None:
        return None

    async def configure(self, vm: str, config: Mapping[str, Value]) -> Health:
        return Health(True, "")

    async def manage(self, vm: str, mandates: Mandates | None) -> bool:
        return False

    async def check_isolation(self) -> tuple[IsolationCheck, ...]:
        return ()

    async def carry(self) -> None:
        return None

    def report(self) -> PlatformReport:
        return PlatformReport()

    def display(self) -> bytes:
        return b""


class FarVerifier:
    """A verifier elsewhere, of which only tokens come back; tests alter what it does and what comes back."""

    def __init__(self, identity: Identity, clock: ManualClock, reference: ReferenceValues | None = None) -> None:
        self.clock = clock
        self.identity = identity
        self.key = ec.derive_private_key(11, ec.SECP256R1())
        self.audience = PLAN.name
        self.verifier = Verifier(reference or accepted(), identity.ak, clock, secrets.token_bytes)
        self.on_token: Callable[[str], str] = lambda token: token
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    async def challenge(self) -> bytes:
        return self.verifier.challenge()

    async def appraise(self, evidence: Evidence, nonce: bytes, plan: Plan) -> Appraisal:
        self.before()
        documents = {kind: plan.documents[kind] for kind in ("topology", "policy")}
        names = tuple(dict.fromkeys(vm.image.name for vm in plan.vms))
        required = RootOfTrust.TXT if plan.launch.require_txt else None
        result = self.verifier.appraise(
            evidence, nonce, plan.digest, documents, names, plan_name=plan.name, required_root=required
        )
        signer = ResultSigner(self.key, ISSUER, self.clock)
        token = self.on_token(signer.jwt(result, self.identity.platform, self.audience, self.identity.ak.name))
        self.after()
        return Appraisal(result, token)

    def check(self, token: str, plan: Plan) -> BoundResult:
        return ResultChecker(self.key.public_key(), ISSUER, plan.name, self.clock).jwt(token)


def measured() -> Measurements:
    """What this host's launcher, QEMU and images measure to."""
    return measure(IMAGES)


def accepted(**changes: AcceptedValue) -> ReferenceValues:
    """Reference values that accept exactly what is there; `launcher` or `vmm` may be given another value."""
    found = measured()
    launcher = changes.get("launcher", AcceptedValue(found.launcher))
    images = {name: (AcceptedValue(digest),) for name, digest in found.images.items()}
    return ReferenceValues("r", (launcher,), (changes.get("vmm", AcceptedValue(found.vmm)),), images)


def enrolled(tpm: Swtpm) -> Identity:
    """The identity of the TPM, by an activated credential."""
    clock = ManualClock()
    return Registrar(Enrolments(Ledger(None, clock)), clock, secrets.token_bytes).enrol("lab", tpm.attester)


def supervised(machine: Machine, verifier: FarVerifier, plan: Plan = PLAN) -> Supervisor:
    """The supervisor that is to bring the plan up."""
    platform: Platform = machine
    trace = Trace(verifier.clock.monotonic)
    return Supervisor(plan, platform, verifier, clock=verifier.clock, trace=trace)


def altered(evidence: Evidence, **changes: object) -> Evidence:
    """The same evidence with some of it replaced."""
    return replace(evidence, **changes)  # type: ignore[arg-type]

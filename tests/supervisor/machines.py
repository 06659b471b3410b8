"""Real modelled machines for supervisor tests: the shipped example in a folder of the test's own, and one that fails.

`Failing` is a platform that passes every call on to a real one and raises at the call whose turn it is.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from vafw.attest.attester import BootCounts
from vafw.attest.enrolment import Enrolments, Registrar
from vafw.attest.evidence import Evidence
from vafw.attest.ledger import Ledger
from vafw.cli.measure_topology import reference_values
from vafw.cli.model_platform import load_plan
from vafw.clock import ManualClock
from vafw.document.load import load_topology
from vafw.machine.capability import Capability
from vafw.machine.mandate import Mandates
from vafw.machine.report import Health, IsolationCheck, LaunchStep, PlatformReport
from vafw.plan.plan import Plan
from vafw.provider.model import image
from vafw.provider.model.measure import measure_installed
from vafw.provider.model.measured import STAGED_PLAN
from vafw.provider.model.provider import ModelProvider
from vafw.provider.model.traffic import Traffic
from vafw.supervisor.appraiser import InProcessAppraiser
from vafw.supervisor.platform import Platform
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import EventKind, Trace, Value


def measure(topology: Path) -> None:
    """Write the reference values of everything that the topology uses."""
    documents = load_topology(topology, measuring=True)
    model = documents.topology.model
    names = dict.fromkeys([*(use.use for use in model.appliances.values()), model.user_os.image])
    measured = measure_installed(image.load(documents.catalog[name], name) for name in names)
    text = reference_values(model.name, measured.sinit, measured.vmm, measured.images)
    (topology.parent / model.reference_values).write_text(text)


def copy_office(folder: Path) -> Path:
    """The shipped example in `folder`, measured as it is now; returns the topology."""
    shutil.copytree(ROOT / "policies" / "office-laptop", folder)
    measure(folder / "topology.yaml")
    return folder / "topology.yaml"


@dataclass
class Machine:
    """A supervisor with a real modelled PC below it."""

    plan: Plan
    provider: ModelProvider
    supervisor: Supervisor
    trace: Trace
    clock: ManualClock
    appraiser: InProcessAppraiser

    def subjects(self, kind: EventKind) -> list[str]:
        """What the events of this kind happened to, in order."""
        return [event.subject for event in self.trace.of(kind)]

    def kinds(self) -> list[EventKind]:
        """The kinds of all events, in order."""
        return [event.kind for event in self.trace]


@dataclass
class Failing:
    """A platform that raises `error` at call number `turn` (from 0), before the real one is called."""

    inner: ModelProvider
    turn: int
    error: Exception
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self.turn:
            raise self.error

    @property
    def capability(self) -> Capability:
        return self.inner.capability

    async def launch(self) -> tuple[LaunchStep, ...]:
        self._call("launch")
        return await self.inner.launch()

    async def evidence(self, nonce: bytes) -> Evidence:
        self._call("evidence")
        return await self.inner.evidence(nonce)

    def boot_counts(self) -> BootCounts:
        self._call("boot_counts")
        return self.inner.boot_counts()

    async def evidence_lost(self) -> str:
        self._call("evidence_lost")
        return await self.inner.evidence_lost()

    def staged_plan_digest(self) -> bytes:
        self._call("staged_plan_digest")
        return self.inner.staged_plan_digest()

    async def power_off(self) -> None:
        self._call("power_off")
        await self.inner.power_off()

    async def start(self, vm: str) -> Health:
        self._call(f"start {vm}")
        return await self.inner.start(vm)

    async def stop(self, vm: str) -> None:
        self._call(f"stop {vm}")
        await self.inner.stop(vm)

    async def configure(self, vm: str, config: Mapping[str, Value]) -> Health:
        self._call(f"configure {vm}")
        return await self.inner.configure(vm, config)

    async def manage(self, vm: str, mandates: Mandates | None) -> bool:
        self._call(f"manage {vm}")
        return await self.inner.manage(vm, mandates)

    async def check_isolation(self) -> tuple[IsolationCheck, ...]:
        self._call("check_isolation")
        return await self.inner.check_isolation()

    async def carry(self) -> None:
        self._call("carry")
        await self.inner.carry()

    def report(self) -> PlatformReport:
        self._call("report")
        return self.inner.report()

    def display(self) -> bytes:
        self._call("display")
        return self.inner.display()


def build(topology: Path, *, turn: int | None = None, error: Exception | None = None) -> tuple[Machine, Failing]:
    """A machine for the topology, of which call number `turn` raises `error`; none does where they are not given."""
    plan, clock = load_plan(topology), ManualClock()
    trace = Trace(clock.monotonic)
    provider = ModelProvider(plan, Traffic(), clock=clock, trace=trace, random=secrets.token_bytes)
    platform = Failing(provider, -1 if turn is None else turn, error or RuntimeError("injected"))
    registrar = Registrar(Enrolments(Ledger(None, clock)), clock, secrets.token_bytes)
    verifier = InProcessAppraiser(plan.reference, provider.enrol(registrar), clock, secrets.token_bytes)
    supervisor = Supervisor(plan, platform, verifier, clock=clock, trace=trace)
    return Machine(plan, provider, supervisor, trace, clock, verifier), platform


def fulfils(platform: Failing) -> Platform:
    """What mypy holds `Failing` to."""
    return platform


def flip_the_staged_plan(provider: ModelProvider) -> None:
    """Alter one bit of the plan where it lies in modelled memory."""
    memory = provider._measured._memory
    memory.write(STAGED_PLAN, bytes((memory.read(STAGED_PLAN, 1)[0] ^ 1,)))

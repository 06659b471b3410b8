"""The model platform as a provider: the embedded default, without root and without hardware.

Joins the two halves of a modelled PC: `MeasuredMachine` brings it from power-on to evidence, `ModelMachine` runs VMs on
it. asyncio begins here; below, everything is synchronous. Every method settles the machine before it returns, so that
whoever runs next finds it at rest.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final, final

from vafw.attest.attester import BootCounts
from vafw.attest.enrolment import Identity, Registrar
from vafw.attest.evidence import Evidence
from vafw.clock import Clock
from vafw.errors import NoSuchObject, PlatformUnable
from vafw.hw.pc import REMAPPING_UNIT
from vafw.hw.pci.display import Display, Picture
from vafw.machine.capability import Capability
from vafw.machine.lifecycle import VmPhase
from vafw.machine.mandate import Mandates
from vafw.machine.report import Health, IsolationCheck, LaunchStep, PlatformReport, VmReport
from vafw.plan.plan import Plan, VmPlan, VmRole
from vafw.provider.model import image
from vafw.provider.model.feeds import Feeder, feeder_for
from vafw.provider.model.guest import guest_kernel
from vafw.provider.model.machine import ModelMachine, build_pc, display_vm
from vafw.provider.model.measured import MeasuredMachine
from vafw.provider.model.tamper import TamperPlan
from vafw.provider.model.traffic import Feed, Traffic
from vafw.trace import EventKind, Trace, Value
from vafw.vmm.probe import run_probes
from vafw.vmm.vm import Vector, VmState

_PHASES: Final = {
    VmState.CREATED: VmPhase.DEFINED,
    VmState.RUNNING: VmPhase.RUNNING,
    VmState.STOPPED: VmPhase.STOPPED,
    VmState.FAILED: VmPhase.FAILED,
}


@final
class ModelProvider:
    """One modelled PC that runs one plan."""

    CAPABILITY: Final = (
        Capability.DMA_REMAPPING
        | Capability.INTERRUPT_REMAPPING
        | Capability.MEASURED_LAUNCH
        | Capability.DISPLAY_CAPTURE
        | Capability.TAMPER
        | Capability.WIRE_CAPTURE_FILE
        | Capability.WIRE_TAP
        | Capability.SEVERAL_UPLINKS
        | Capability.INTERPRETED_RULES
    )

    def __init__(
        self,
        plan: Plan,
        traffic: Traffic,
        *,
        clock: Clock,
        trace: Trace,
        random: Callable[[int], bytes],
        tamper: TamperPlan | None = None,
        secret_of: Callable[[str], bytes] | None = None,
    ) -> None:
        """Manufacture the PC, switched off; `random(n)` gives n random bytes for its TPM's keys.

        `secret_of` has the secret of each VM that keeps one, by name; without it each has one for this machine's life.

        UsageError where the traffic is to enter by a network function that the plan has no wire for.
        """
        traffic.require_wires(plan.feeds())
        self._plan = plan
        self._traffic = traffic
        self._clock = clock
        self._trace = trace
        self._tamper = tamper
        self._secret_of = secret_of or cache(lambda _vm: random(32))
        self._pc = build_pc(plan.machine, user_side=traffic.has_user_side)
        unit = REMAPPING_UNIT if plan.machine.iommu.dma_remapping else None
        self._measured = MeasuredMachine(plan, self._pc.memory, random, unit)
        self._pc.root_complex.guard = self._measured.dma_guard
        names = {vm.image.name: vm.image.folder for vm in plan.vms}
        self._images = {name: image.load(folder, name) for name, folder in names.items()}
        if tamper is not None:
            self._images = {name: tamper.altered(each) for name, each in self._images.items()}
        self._machine: ModelMachine | None = None
        self._feeder: Feeder | None = None

    @property
    def capability(self) -> Capability:
        """What it can do."""
        return self.CAPABILITY

    def enrol(self, registrar: Registrar) -> Identity:
        """Enrol its TPM, before anything is launched."""
        with self._measured.on_the_bench() as attester:
            return registrar.enrol(f"model:{self._plan.machine.name}", attester)

    # -- launch and evidence ----------------------------------------------------------------------------------

    async def launch(self) -> tuple[LaunchStep, ...]:
        """Power on and launch the VMM; a refused launch ends in evidence that says so."""
        steps = list(self._measured.power_on())
        self._trace.record(EventKind.PLATFORM_POWERED_ON, self._plan.machine.name)
        if self._tamper is not None:
            self._trace.record(EventKind.TAMPERED, self._tamper.text)
        outcome = self._measured.launch(self._tamper)
        steps += outcome.steps
        if outcome.error is not None:
            detail = {"component": outcome.error.component, "reason": outcome.error.reason}
            self._trace.record(EventKind.LAUNCH_REFUSED, outcome.error.component, **detail)
        steps += self._measured.measure_plan(self._images.values(), self._tamper)
        for step in steps:
            self._trace.record(EventKind.LAUNCH_STEP, step.name, detail=step.detail)
        return tuple(LaunchStep(each.name, each.detail) for each in steps)

    async def evidence(self, nonce: bytes) -> Evidence:
        """A quote over the launch's PCRs for `nonce`, with the log."""
        return self._measured.evidence(nonce)

    def boot_counts(self) -> BootCounts:
        """Which boot its TPM is in."""
        return self._measured.attester.boot_counts()

    async def evidence_lost(self) -> str:
        """Never returns: the modelled TPM is a part of the modelled PC."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    def staged_plan_digest(self) -> bytes:
        """SHA-256 of the plan as it lies in modelled memory now."""
        return self._measured.staged_plan_digest()

    def sleep(self) -> None:
        """S3, and waking again: memory is as it was, and whatever runs in it is measured no more."""
        self._measured.suspend()
        for step in self._measured.resume():
            self._trace.record(EventKind.LAUNCH_STEP, step.name, detail=step.detail)

    async def power_off(self) -> None:
        """Stop whatever runs and let go of what the host lent."""
        if self._feeder is not None:
            self._feeder.close()
        if self._machine is not None:
            for vm in self._machine.vmm.vms:
                self._machine.vmm.stop(vm.name)
            self._keep_records()
        self._measured.leave()

    # -- VMs --------------------------------------------------------------------------------------------------

    async def start(self, vm: str) -> Health:
        """Start one VM and return what its own probe said."""
        machine = self._built()
        plan = self._plan.vm(vm)
        program = image.program(self._images[plan.image.name], plan.image.program)
        machine.vmm.start(vm, guest_kernel(program.create), self._config(plan))
        machine.settle(self._now_ns())
        self._keep_records()
        started = machine.vmm.vm(vm)
        if started.health is None:
            return Health(False, started.ended or "its kernel did not report its health")
        return Health(started.health.healthy, started.health.reason)

    async def stop(self, vm: str) -> None:
        """Stop one VM: links down, devices to quarantine, memory scrubbed."""
        self._built().vmm.stop(vm)
        self._keep_records()

    async def configure(self, vm: str, config: Mapping[str, Value]) -> Health:
        """Give a running VM's program another configuration between two frames; what is not healthy is not kept."""
        machine = self._built()
        plan = replace(self._plan.vm(vm), config=config)
        machine.vmm.configure(vm, self._config(plan))
        machine.vmm.run_until_idle()
        self._keep_records()
        answer = machine.vmm.vm(vm).configured
        if answer is None:
            return Health(False, machine.vmm.vm(vm).ended or "its kernel did not answer")
        return Health(answer.healthy, answer.reason)

    async def manage(self, vm: str, mandates: Mandates | None) -> bool:
        """False: a modelled guest has no process of its own to run an agent in."""
        return False

    async def check_isolation(self) -> tuple[IsolationCheck, ...]:
        """Try, on the running machine, to reach what must not be reachable."""
        self._feed()  # plugged in before anyone is told that it is up: who waits for a tap finds it then
        results = run_probes(self._built().vmm)
        self._keep_records()
        return tuple(
            IsolationCheck(each.name, each.actor, each.target, each.blocked, each.evidence) for each in results
        )

    async def carry(self) -> None:
        """Carry traffic until what feeds the machine has ended."""
        await self._feed().carry()
        self._keep_records()

    def report(self) -> PlatformReport:
        """What the machine says of itself now."""
        if self._machine is None:
            return PlatformReport()
        machine = self._machine
        said = machine.reports()
        return PlatformReport(
            tuple(
                VmReport(
                    vm.name,
                    _PHASES[vm.state],
                    Health(vm.health.healthy, vm.health.reason) if vm.health else None,
                    dict(vm.exits),
                    said.get(vm.name, {}),
                )
                for vm in machine.vmm.vms
            ),
            machine.links(),
            machine.assignments(),
            machine.hardware(),
            self._feeder.counters() if self._feeder else None,
        )

    def display(self) -> bytes:
        """The picture on the assigned display, as PNG; the display fetched it by DMA."""
        shown = display_vm(self._plan)
        if shown is None:
            raise NoSuchObject("a display must be assigned to a VM to be captured, and none is")
        vm, bdf = shown
        machine = self._built()
        machine.vmm.interrupt(vm.name, Vector.DRAW)
        machine.settle(self._now_ns())
        display = self._pc.function(bdf)
        picture = display.scan_out() if isinstance(display, Display) else None
        if not isinstance(picture, Picture):
            raise PlatformUnable(f"the display could not be scanned out: {picture}")
        return _png(picture)

    # -- machinery --------------------------------------------------------------------------------------------

    def _built(self) -> ModelMachine:
        if self._machine is None:
            self._machine = ModelMachine(self._plan, self._pc)
            self._machine.build()
        return self._machine

    def _feed(self) -> Feeder:
        if self._feeder is None:
            self._feeder = feeder_for(self._traffic, self._built(), self._plan, self._clock, self._keep_records)
        return self._feeder

    def _config(self, vm: VmPlan) -> dict[str, Value]:
        config = dict(vm.config)
        if vm.has_secret:
            config["secret"] = self._secret_of(vm.name).hex()
        if vm.role is VmRole.USER_OS:
            config |= {"name": self._plan.name, "mode": self._traffic.user_mode}
            if self._traffic.feed is Feed.SCRIPT:
                config["script"] = list(self._traffic.script)
        return config

    def _now_ns(self) -> int:
        """The machine's time: it begins with the machine, and passes only while something feeds it."""
        return self._feeder.now_ns if self._feeder is not None else 0

    def _keep_records(self) -> None:
        if self._machine is not None:
            for record in self._machine.vmm.take_records():
                self._trace.record(record.kind, record.subject, **record.detail)


def _png(picture: Picture) -> bytes:
    from PIL import Image  # deferred: only a captured display needs it

    target = io.BytesIO()
    Image.frombytes("RGB", (picture.width, picture.height), picture.rgb).save(target, "PNG")
    return target.getvalue()

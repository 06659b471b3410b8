"""The QEMU platform as a provider: real virtual machines without root and without hardware of their own.

    launch      SoftwareLaunch on an swtpm          launch.py, swtpm.py
    start       one QEMU process a VM               argv.py, processes.py
    carry       a wire with answers behind it       wire.py

No device of this host is assigned: a VM's network card and display are QEMU's, part of the process that is the VM,
which has the memory of no other VM to reach. That is how this platform keeps devices to their VM; no remapping unit
does it, and `check_isolation` tries from the inside. A VM whose process ends is started again, with pauses that grow;
meanwhile its links carry nothing. A TPM that ends is not: what it was extended with is gone, and with it the proof of
what runs; whoever supervises is told at once. Longer than most files here: a VM's whole life, from its start to the
pauses between two of them, is read in one place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from secrets import token_bytes
from typing import Final, final

from vafw.attest.attester import BootCounts
from vafw.attest.evidence import Evidence
from vafw.clock import Clock
from vafw.errors import NoSuchObject, PlatformUnable
from vafw.machine.capability import Capability
from vafw.machine.inventory import DeviceClass
from vafw.machine.lifecycle import VmPhase
from vafw.machine.mandate import Mandates
from vafw.machine.report import Health, IsolationCheck, LaunchStep, PlatformReport, VmReport
from vafw.plan.plan import Plan, Port, VmRole, canonical_json
from vafw.provider.qemu.accelerator import choose
from vafw.provider.qemu.argv import ANSWERS, WIRE, Boot, Places, command_line, mac_of, wires
from vafw.provider.qemu.base import load_base
from vafw.provider.qemu.child import path_of, sealed
from vafw.provider.qemu.counters import link_counters
from vafw.provider.qemu.image import GuestImage, build_image
from vafw.provider.qemu.isolation import check_isolation
from vafw.provider.qemu.keeper import Crew, Pacing
from vafw.provider.qemu.launch import SoftwareLaunch
from vafw.provider.qemu.orphans import Roster
from vafw.provider.qemu.processes import VirtualMachine
from vafw.provider.qemu.swtpm import Swtpm
from vafw.provider.qemu.tamper import Tamper
from vafw.provider.qemu.uplink import Uplink, require_wires
from vafw.provider.qemu.wire import Answers, Wire, together
from vafw.trace import EventKind, Trace, Value

REPORT_EVERY_S: Final = 5.0
"""How old what a guest said of itself may get."""
AGENT_MEMORY: Final = 192 << 20
"""What a VM must have for its agent to run inside; with 128 MiB there is not enough left."""
SCRIPT_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Run:
    """What there is from the launch on, until the platform is switched off."""

    places: Places
    wires: Mapping[str, Wire]
    """Those that this process answers, by network function; the path's own first, unless it leads elsewhere."""

    @property
    def wire(self) -> Wire:
        """The first."""
        return next(iter(self.wires.values()))


def _new_folder(notes: Path) -> Path:
    """A folder for this run's sockets, with a path short enough for them; that of a run that was killed goes."""
    note = notes / "folder"
    if note.exists():
        shutil.rmtree(note.read_text(encoding="utf-8"), ignore_errors=True)
    made = tempfile.mkdtemp(prefix="vafw-", dir=os.environ.get("XDG_RUNTIME_DIR"))
    note.write_text(made, encoding="utf-8")
    return Path(made)


@final
class QemuProvider:
    """The VMs of one plan."""

    CAPABILITY: Final = (
        Capability.DMA_REMAPPING
        | Capability.INTERRUPT_REMAPPING
        | Capability.MEASURED_LAUNCH
        | Capability.DISPLAY_CAPTURE
        | Capability.TAMPER
        | Capability.WIRE_TAP
        | Capability.SEVERAL_UPLINKS
    )
    """A device reaches the memory, and interrupts the processors, of its own VM only: it is part of its process."""

    def __init__(
        self,
        plan: Plan,
        *,
        state: Path,
        notes: Path,
        answers: Mapping[str, Answers],
        clock: Clock,
        trace: Trace,
        script: Sequence[Value] = (),
        tamper: Tamper | None = None,
        uplink: Uplink = ANSWERS,
        secret_of: Callable[[str], bytes] | None = None,
        unplugged: Mapping[str, float] | None = None,
    ) -> None:
        """`state` keeps the TPM from run to run.

        `answers` is behind the wire of each network function, unless there is another `uplink` for the path's own.
        `unplugged` are those whose cable is pulled, and at how many seconds after traffic is first carried; UsageError
        where the machine has none of that name.

        `secret_of` has the secret of each VM that keeps one, by name; without it each has one for this run.

        In the folder `notes` stands what a killed run leaves behind. It must be one that one run holds at a time: what
        is noted there is ended.
        """
        self._plan = plan
        self._state = state
        self._clock = clock
        self._trace = trace
        self._script = list(script)
        self._tamper = tamper
        self._answers = answers
        self._uplink = uplink
        self._unplugged = dict(unplugged or {})
        require_wires(plan, self._unplugged)
        self._secret_of = secret_of or cache(lambda _vm: token_bytes(32))
        self._staged = canonical_json(plan.to_json())
        self._run: _Run | None = None
        self._accelerator = ""
        self._images: dict[str, GuestImage] = {}
        self._descriptors: dict[str, tuple[int, int]] = {}
        self._notes = notes
        self._roster = Roster(notes / "processes")
        self._tpm: Swtpm | None = None
        self._tpm_lost = ""
        self._launch: SoftwareLaunch | None = None
        self._crew = Crew()
        self._machines: dict[str, VirtualMachine] = {}
        self._phases = {vm.name: VmPhase.DEFINED for vm in plan.vms}
        self._health: dict[str, Health] = {}
        self._configs = {vm.name: dict(vm.config) for vm in plan.vms}
        self._said: dict[str, Mapping[str, Value]] = {}
        self._mandates: dict[str, Mandates] = {}

    @property
    def capability(self) -> Capability:
        """What it can do."""
        return self.CAPABILITY

    # -- launch and evidence ----------------------------------------------------------------------------------

    async def launch(self) -> tuple[LaunchStep, ...]:
        """Power the TPM on, measure everything, and keep the measured bytes for the VMs."""
        self._notes.mkdir(parents=True, exist_ok=True, mode=0o700)
        for orphan in self._roster.end_all():
            self._trace.record(EventKind.ORPHAN_ENDED, orphan.what, pid=orphan.pid)
        places = Places(_new_folder(self._notes))
        self._run = _Run(places, self._wires(places))
        base = load_base()
        built = {vm.image.name: build_image(vm, base) for vm in self._plan.vms}
        if self._tamper is not None:
            self._trace.record(EventKind.TAMPERED, self._tamper.text)
            built = {name: self._tamper.altered(each) for name, each in built.items()}
        self._images = built
        self._tpm = Swtpm(self._state / "tpm")
        self._roster.note("tpm", self._tpm.pid)
        self._trace.record(EventKind.PLATFORM_POWERED_ON, self._plan.machine.name)
        self._launch = SoftwareLaunch(self._tpm)
        steps = (*self._launch.begin(), *self._launch.measure_plan(self._plan, tuple(built.values())))
        if self._tamper is not None:
            self._staged = self._tamper.altered_plan(self._staged)
        for step in steps:
            self._trace.record(EventKind.LAUNCH_STEP, step.name, detail=step.detail)
        return steps

    async def evidence(self, nonce: bytes) -> Evidence:
        """A quote over the launch's PCRs for `nonce`, with the log."""
        if self._launch is None:
            raise PlatformUnable("the platform must be launched to give evidence")
        if self._tpm_lost:
            raise PlatformUnable(self._tpm_lost)
        return self._launch.evidence(nonce)

    def boot_counts(self) -> BootCounts:
        """Which boot its TPM is in; PlatformUnable where it is not powered."""
        if self._tpm is None:
            raise PlatformUnable("the platform must be launched to say which boot it is in")
        return self._tpm.attester.boot_counts()

    async def evidence_lost(self) -> str:
        """Return when the TPM has ended, with how."""
        if self._tpm is None:
            raise PlatformUnable("the platform must be launched to lose its TPM")
        if not self._tpm_lost:
            self._tpm_lost = await self._tpm.lost()
            self._trace.record(EventKind.TPM_LOST, self._plan.machine.name, reason=self._tpm_lost)
        return self._tpm_lost

    def staged_plan_digest(self) -> bytes:
        """SHA-256 of the plan as it would be carried out now."""
        return hashlib.sha256(self._staged).digest()

    async def power_off(self) -> None:
        """End every process and let go of what the host lent; safe to call twice."""
        await self._crew.dismiss_all()
        for name in tuple(self._machines):
            await self._end(name)
        if self._run is not None:
            for wire in self._run.wires.values():
                wire.unplug()
            shutil.rmtree(self._run.places.folder, ignore_errors=True)
        for descriptor in (each for pair in self._descriptors.values() for each in pair):
            os.close(descriptor)
        self._descriptors.clear()
        if self._tpm is not None:
            self._tpm.close()

    # -- VMs --------------------------------------------------------------------------------------------------

    async def start(self, vm: str) -> Health:
        """Start one VM and return what its own probe said."""
        for function, wire in self._launched().wires.items():
            if self._plan.feeds()[function].vm == vm:
                wire.plug_in()
                if self._unplugged.get(function) == 0:
                    wire.pull()
        try:
            health = await self._boot(vm)
        except PlatformUnable as error:
            health = Health(False, error.message)
            self._failed(vm, error.message)
        if health.healthy:
            self._crew.add(f"{vm}.keeper", self._keep(vm))
            if vm == self._plan.vms[-1].name:
                self._crew.add("reports", self._keep_asking())
        return health

    async def stop(self, vm: str) -> None:
        """Stop one VM: its process ends, and its links carry nothing."""
        await self._crew.dismiss(f"{vm}.keeper")
        await self._end(vm)
        self._phases[vm] = VmPhase.STOPPED
        self._links(vm, EventKind.LINK_DOWN)
        self._trace.record(EventKind.VM_STOPPED, vm)

    async def configure(self, vm: str, config: Mapping[str, Value]) -> Health:
        """Apply a configuration to a running VM; where its guest refuses it, the old one stays in force."""
        health = await self._machine(vm).configure(self._told(vm, config), self._ports(vm))
        if health.healthy:
            self._configs[vm] = dict(config)
            self._health[vm] = health
        return health

    async def manage(self, vm: str, mandates: Mandates | None) -> bool:
        """Have the agent inside a running VM serve, now and at each boot to come; None: no longer.

        False for a guest with less than `AGENT_MEMORY`: whoever asks runs the agent for it.
        """
        if self._plan.vm(vm).memory_bytes < AGENT_MEMORY:
            return False
        machine = self._machine(vm) if mandates is not None else self._machines.get(vm)
        self._mandates.pop(vm, None)
        if mandates is not None and machine is not None:
            self._mandates[vm] = mandates
            await machine.manage(await mandates())
        elif machine is not None:
            machine.leave()
        return True

    async def check_isolation(self) -> tuple[IsolationCheck, ...]:
        """Try, from inside the user's OS, to reach what must not be reachable."""
        await self._ask_all()
        user_os, wires = self._machine(self._plan.vms[-1].name), self._launched().wires
        seen = tuple(wires.values()) if self._uplink == ANSWERS else ()
        return await check_isolation(self._plan, user_os, seen, self._clock)

    async def carry(self) -> None:
        """Let the user OS follow its script, where there is one; otherwise the machine is idle at once."""
        for function, after_s in self._unplugged.items():
            if after_s and function in self._launched().wires:
                self._crew.add(f"{function}.unplugged", self._pull(function, after_s))
        if self._script:
            await self._machine(self._plan.vms[-1].name).request("run", timeout_s=SCRIPT_TIMEOUT_S)
        await self._ask_all()

    def report(self) -> PlatformReport:
        """What the platform says of itself: what guests said when they were last asked, the rest as it is now."""
        return PlatformReport(
            tuple(
                VmReport(vm.name, self._phases[vm.name], self._health.get(vm.name), {}, self._report_of(vm.name))
                for vm in self._plan.vms
            ),
            link_counters(self._plan, self._said),
            hardware={
                "accelerator": self._accelerator,
                "tpm": self._tpm_lost or "swtpm",
                **{f"pid of {name}": each.pid for name, each in self._machines.items()},
            },
            wire=together(self._run.wires) if self._run is not None and self._uplink == ANSWERS else None,
        )

    def display(self) -> bytes:
        """The picture on the assigned display, as PNG."""
        for vm in self._plan.vms:
            if any(function.device_class is DeviceClass.DISPLAY for function in vm.functions):
                return self._machine(vm.name).picture(self._launched().places.folder / "display.png")
        raise NoSuchObject("a display must be assigned to a VM to be captured, and none is")

    # -- machinery --------------------------------------------------------------------------------------------

    def _launched(self) -> _Run:
        if self._run is None:
            raise PlatformUnable("the platform must be launched first")
        return self._run

    def _wires(self, places: Places) -> dict[str, Wire]:
        """The wires that this process answers."""
        ends = zip(wires(self._plan).items(), self._plan.feeds(), strict=True)
        return {
            function: Wire(places.link_end(near), places.link_end(port), self._answers[function])
            for (near, port), function in ends
            if near != WIRE or self._uplink == ANSWERS
        }

    async def _pull(self, function: str, after_s: float) -> None:
        await self._clock.sleep(after_s)
        self._launched().wires[function].pull()

    def _machine(self, vm: str) -> VirtualMachine:
        if vm not in self._machines:
            raise PlatformUnable(f"{vm} must run to be asked, and it does not")
        return self._machines[vm]

    async def _boot(self, name: str) -> Health:
        """Start a process that boots the measured bytes, and configure its guest."""
        plan = self._plan.vm(name)
        image = self._images[plan.image.name]
        assert self._launch is not None, "nothing boots that was not measured by a launch"
        if name not in self._descriptors:
            self._launch.require_measured(image)
            self._descriptors[name] = (sealed("kernel", image.kernel), sealed("initramfs", image.initramfs))
        kernel, initramfs = self._descriptors[name]
        boot = Boot(path_of(kernel), path_of(initramfs), image.command_line)
        places = self._launched().places
        self._accelerator = self._accelerator or await choose(self._plan, boot, self._descriptors[name], places)
        command = command_line(self._plan, plan, boot, places, accelerator=self._accelerator, uplink=self._uplink)
        machine = self._machines[name] = VirtualMachine(name, command, self._descriptors[name], places)
        self._phases[name] = VmPhase.STARTING
        self._trace.record(EventKind.VM_STARTED, name, image=image.digest.hex())
        await machine.start(
            partial(self._log, name), partial(self._probed, name), born=partial(self._roster.note, name)
        )
        self._phases[name] = VmPhase.RUNNING
        mandate = await self._mandates[name]() if name in self._mandates else None
        if mandate is not None:
            self._configs[name] = dict(mandate.config)
        health = self._health[name] = await machine.configure(self._told(name, self._configs[name]), self._ports(name))
        if health.healthy:
            self._phases[name] = VmPhase.HEALTHY
            self._links(name, EventKind.LINK_UP)
            if mandate is not None:
                await machine.manage(mandate)
        return health

    async def _keep(self, name: str) -> None:
        """See the VM end, and start it again as often as the pacing lets it."""
        pacing = Pacing()
        while True:
            began_s = self._clock.monotonic()
            why = await self._machines[name].wait()
            while True:
                self._failed(name, why)
                await self._end(name)
                pause_s = pacing.after_end(self._clock.monotonic() - began_s)
                if pause_s is None:
                    reason = f"it ended {pacing.failures} times in a row and is not started again: {why}"
                    self._health[name] = Health(False, reason)
                    return
                await self._clock.sleep(pause_s)
                try:
                    health = await self._boot(name)
                except PlatformUnable as error:
                    why = error.message
                    continue
                if health.healthy:
                    self._trace.record(EventKind.VM_HEALTHY, name, reason=health.reason)
                    break
                why = health.reason

    def _failed(self, name: str, why: str) -> None:
        if self._phases[name] is VmPhase.HEALTHY:
            self._links(name, EventKind.LINK_DOWN)
        self._phases[name] = VmPhase.FAILED
        self._health[name] = Health(False, why)
        self._trace.record(EventKind.VM_FAILED, name, reason=why)

    async def _end(self, name: str) -> None:
        machine = self._machines.pop(name, None)
        if machine is not None:
            await machine.end()

    async def _keep_asking(self) -> None:
        while True:
            await self._clock.sleep(REPORT_EVERY_S)
            await self._ask_all()

    async def _ask_all(self) -> None:
        for name, machine in tuple(self._machines.items()):
            if self._phases[name] is not VmPhase.HEALTHY:
                continue
            try:
                self._said[name] = await machine.request("report")
            except PlatformUnable:  # it is going down, and its keeper sees that
                continue

    def _told(self, name: str, config: Mapping[str, Value]) -> dict[str, Value]:
        """A configuration as the guest gets it: one may have a secret besides, and the user's OS has a script."""
        is_user = self._plan.vm(name).role is VmRole.USER_OS
        secret = {"secret": self._secret_of(name).hex()} if self._plan.vm(name).has_secret else {}
        return dict(config) | secret | ({"name": self._plan.name, "script": self._script} if is_user else {})

    def _ports(self, name: str) -> dict[str, str]:
        return {port: mac_of(self._plan, Port(name, port)) for port in self._plan.vm(name).ports}

    def _report_of(self, name: str) -> Mapping[str, Value]:
        said = self._said.get(name, {}).get("report")
        return said if isinstance(said, dict) else {}

    def _links(self, name: str, kind: EventKind) -> None:
        for link in self._plan.links:
            if name in (link.outer.vm, link.inner.vm):
                self._trace.record(kind, link.name, vm=name)

    def _probed(self, name: str, health: Health) -> None:
        """What a guest says after its own agent gave it another configuration."""
        self._health[name] = health

    def _log(self, name: str, line: str) -> None:
        self._trace.record(EventKind.GUEST_LOG, name, line=line)

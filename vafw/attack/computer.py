"""One modelled PC under attack: the topology's machine with two cards of the attacker's plugged in behind a switch.

    root complex ─ root port ─ switch ─┬─ downstream port ─ EVIL        a card that does what its firmware was told
                                       └─ downstream port ─ NEIGHBOUR   a card that is somebody else's

Trust only: power-on, launch, evidence, appraisal, gate. Its VMs are `vafw.attack.running`'s affair. Mechanisms that are
off are left out where they belong: a launch is skipped, a policy allows anything, a nonce is used twice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final, final

from vafw.address import Bdf
from vafw.attack.mechanism import Mechanism
from vafw.attest.enrolment import Enrolments, Identity, Registrar
from vafw.attest.evidence import Evidence
from vafw.attest.ledger import Ledger
from vafw.attest.result import AttestationResult
from vafw.attest.verifier import NONCE_BYTES, Verifier
from vafw.clock import ManualClock
from vafw.document.load import DocumentSet
from vafw.fabric import PortKind
from vafw.hw.pc import REMAPPING_UNIT, Pc
from vafw.hw.pci import NetworkCard
from vafw.hw.txt.locality import TpmPort
from vafw.hw.txt.outcome import LaunchOutcome, TxtError
from vafw.hw.vtd import UnitCapability
from vafw.machine.inventory import DeviceClass, MachineInventory, PciFunction
from vafw.plan.plan import Plan
from vafw.provider.model import image, measure
from vafw.provider.model.loader import LaunchComponent, LaunchFiles, Tamper
from vafw.provider.model.machine import build_pc
from vafw.provider.model.measured import MeasuredMachine
from vafw.provider.model.tamper import TamperPlan
from vafw.supervisor.gate import GateDecision, decide
from vafw.txt.lcp import Policy, PolicyType

SHARED: Final = Bdf(0xF4, 0, 0)
"""A card with two virtual functions, for two owners (SR-IOV)."""
_SHARED_MAC: Final = bytes.fromhex("525400ee00f4")
_VIRTUAL_MACS: Final = (bytes.fromhex("525400ee0100"), bytes.fromhex("525400ee0101"))
EVIL: Final = Bdf(0xF2, 0, 0)
NEIGHBOUR: Final = Bdf(0xF3, 0, 0)
_ROOT_PORT: Final = Bdf(0, 0x1D, 7)
_UPSTREAM: Final = Bdf(0xF0, 0, 0)
EVIL_PORT: Final = Bdf(0xF1, 0, 0)
_NEIGHBOUR_PORT: Final = Bdf(0xF1, 1, 0)
_UNIT: Final = UnitCapability(device_tlb=True)
"""A unit that takes translated requests from whoever is granted it: nobody, unless an attack makes it so."""
_SKIP_LAUNCH: Final = TamperPlan("launch", at_launch=Tamper(LaunchComponent.LAUNCH))


def _port(bdf: Bdf, kind: PortKind, behind: Bdf | None) -> PciFunction:
    acs = kind is not PortKind.UPSTREAM
    return PciFunction(f"port-{bdf}", bdf, DeviceClass.BRIDGE, 0x8086, 0xA110, 0, behind=behind, port=kind, acs=acs)


def _card(name: str, bdf: Bdf, behind: Bdf) -> PciFunction:
    mac = f"52:54:00:ee:00:{bdf.bus:02x}"
    return PciFunction(name, bdf, DeviceClass.NETWORK, 0x8086, 0x10D3, 0, mac=mac, behind=behind)


_SWITCH: Final = (
    _port(_ROOT_PORT, PortKind.ROOT_PORT, None),
    _port(_UPSTREAM, PortKind.UPSTREAM, _ROOT_PORT),
    _port(EVIL_PORT, PortKind.DOWNSTREAM, _UPSTREAM),
    _port(_NEIGHBOUR_PORT, PortKind.DOWNSTREAM, _UPSTREAM),
    _card("evil", EVIL, EVIL_PORT),
    _card("neighbour", NEIGHBOUR, _NEIGHBOUR_PORT),
)


@final
@dataclass(frozen=True, slots=True)
class Supplies:
    """What every PC of one plan is booted from: read and built once."""

    plan: Plan
    files: LaunchFiles
    images: tuple[image.Image, ...]
    documents: DocumentSet | None = None
    """What the plan was compiled from, for attacks that are refused there."""

    @classmethod
    def of(cls, plan: Plan, documents: DocumentSet | None = None) -> Supplies:
        """Everything that the plan needs."""
        owner = measure.owner_policy([value.digest for value in plan.reference.vmm])
        files = LaunchFiles(measure.sinit_module(), measure.vmm_image(), owner.data.encode())
        folders = {vm.image.name: vm.image.folder for vm in plan.vms}
        return cls(plan, files, tuple(image.load(folder, name) for name, folder in folders.items()), documents)


@final
class Computer:
    """A PC that was switched off a moment ago."""

    def __init__(self, supplies: Supplies, without: frozenset[Mechanism]) -> None:
        """`without` are the mechanisms that it lacks."""
        self.supplies = supplies
        self.plan = supplies.plan
        self.clock = ManualClock()
        self._without = without
        self.pc: Pc = build_pc(_with_switch(self.plan.machine), user_side=False, capability=_UNIT)
        unit = REMAPPING_UNIT if self.pc.unit is not None else None
        shared = NetworkCard(SHARED, self.pc.root_complex, _SHARED_MAC, virtual_macs=_VIRTUAL_MACS)
        self.pc.root_complex.attach(shared)
        self.owner = self._ownership()
        self.measured = MeasuredMachine(self.plan, self.pc.memory, secrets.token_bytes, unit, self.owner)
        self.pc.root_complex.guard = self.measured.dma_guard
        self.platform = self.measured.platform
        self.port = TpmPort(self.platform.tpm, self.platform.chipset)
        once = secrets.token_bytes(NONCE_BYTES)
        random = (lambda _: once) if Mechanism.NONCE in without else secrets.token_bytes
        self._verifier = Verifier(self.plan.reference, self._enrolled().ak, self.clock, random)

    @property
    def evil(self) -> NetworkCard:
        """The attacker's card, free to master the bus."""
        return self._network_card(EVIL)

    @property
    def neighbour(self) -> NetworkCard:
        """The card beside it."""
        return self._network_card(NEIGHBOUR)

    def boot(
        self,
        files: LaunchFiles | None = None,
        tamper: TamperPlan | None = None,
        images: tuple[image.Image, ...] | None = None,
    ) -> TxtError | None:
        """Power on, launch, measure the plan; the error of a launch that was broken off."""
        self.measured.power_on()
        return self.start(files, tamper, images)

    def start(
        self,
        files: LaunchFiles | None = None,
        tamper: TamperPlan | None = None,
        images: tuple[image.Image, ...] | None = None,
    ) -> TxtError | None:
        """What follows power-on, or waking up."""
        outcome = self._launch(files or replace(self.supplies.files, policy_data=self.owner.data.encode()), tamper)
        self.measured.measure_plan(images or self.supplies.images, tamper)
        return outcome.error if Mechanism.TXT not in self._without else None

    def launch_honestly(self) -> None:
        """A boot of better days, when nothing was switched off."""
        self.measured.power_on()
        self.measured.launch(None, replace(self.supplies.files, policy_data=self.owner.data.encode()))
        self.measured.measure_plan(self.supplies.images, None)

    def evidence(self) -> tuple[Evidence, bytes]:
        """Evidence for a nonce of the verifier's."""
        nonce = self._verifier.challenge()
        return self.measured.evidence(nonce), nonce

    def challenge(self) -> bytes:
        """A nonce of the verifier's, used once unless nonces are off."""
        return self._verifier.challenge()

    def appraise(self, evidence: Evidence, nonce: bytes) -> AttestationResult:
        """What the verifier says of evidence."""
        documents = {kind: self.plan.documents[kind] for kind in ("topology", "policy")}
        names = tuple(each.name for each in self.supplies.images)
        return self._verifier.appraise(evidence, nonce, self.plan.digest, documents, names, plan_name=self.plan.name)

    def decide(self, evidence: Evidence, nonce: bytes, staged: bytes | None = None) -> GateDecision:
        """What the gate says of evidence; `staged` is what an attacker says is staged."""
        return decide(
            self.appraise(evidence, nonce),
            nonce=nonce,
            plan_digest=self.plan.digest,
            staged_plan_digest=staged or self.measured.staged_plan_digest(),
            now=self.clock.wall(),
        )

    def ask(self) -> GateDecision:
        """What the gate says of this machine now."""
        return self.decide(*self.evidence())

    def _launch(self, files: LaunchFiles, tamper: TamperPlan | None) -> LaunchOutcome:
        skipped = Mechanism.TXT in self._without
        return self.measured.launch(_SKIP_LAUNCH if skipped else tamper, files)

    def _enrolled(self) -> Identity:
        registrar = Registrar(Enrolments(Ledger(None, self.clock)), self.clock, secrets.token_bytes)
        with self.measured.on_the_bench() as attester:
            return registrar.enrol(f"model:{self.plan.machine.name}", attester)

    def _ownership(self) -> measure.Ownership:
        owner = measure.owner_policy([value.digest for value in self.plan.reference.vmm])
        if Mechanism.LCP in self._without:
            owner = replace(owner, policy=Policy(PolicyType.ANY))
        return replace(owner, locked=Mechanism.NV_LOCK not in self._without)

    def _network_card(self, bdf: Bdf) -> NetworkCard:
        card = self.pc.function(bdf)
        assert isinstance(card, NetworkCard)
        self.pc.root_complex.set_bus_master(bdf, True)
        return card


def _with_switch(machine: MachineInventory) -> MachineInventory:
    return replace(machine, functions=(*machine.functions, *_SWITCH))

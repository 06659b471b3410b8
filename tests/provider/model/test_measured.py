"""The trust half of the modelled PC over its whole life: what opens the gate, and what closes it again (S14, S16)."""

from __future__ import annotations

import secrets

import pytest

from tests.supervisor.machines import copy_office
from vafw.address import Hpa
from vafw.attest.evidence import RootOfTrust
from vafw.attest.key import AttestationKey
from vafw.attest.verifier import Verifier
from vafw.cli.model_platform import load_plan
from vafw.clock import ManualClock
from vafw.hw.memory import PhysicalMemory
from vafw.plan.plan import Plan
from vafw.provider.model import image
from vafw.provider.model.measured import MeasuredMachine
from vafw.supervisor.gate import GateDecision, decide

MEMORY = 256 << 20


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return load_plan(copy_office(tmp_path_factory.mktemp("office") / "office-laptop"))


class Desk:
    """One machine, the verifier that knows its key, and the gate."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.memory = PhysicalMemory(MEMORY)
        self.machine = MeasuredMachine(plan, self.memory, secrets.token_bytes, None)
        self.clock = ManualClock()
        self.verifier = Verifier(
            plan.reference, AttestationKey(self.machine.attester.offer().ak), self.clock, secrets.token_bytes
        )
        self.images = tuple(image.load(vm.image.folder, vm.image.name) for vm in plan.vms)

    def start(self) -> None:
        self.machine.power_on()
        self.measure()

    def measure(self) -> None:
        self.machine.launch(None)
        self.machine.measure_plan(self.images, None)

    def ask(self) -> GateDecision:
        nonce = self.verifier.challenge()
        documents = {kind: self.plan.documents[kind] for kind in ("topology", "policy")}
        names = tuple(dict.fromkeys(vm.image.name for vm in self.plan.vms))
        evidence = self.machine.evidence(nonce)
        result = self.verifier.appraise(evidence, nonce, self.plan.digest, documents, names, plan_name=self.plan.name)
        return decide(
            result,
            nonce=nonce,
            plan_digest=self.plan.digest,
            staged_plan_digest=self.machine.staged_plan_digest(),
            now=self.clock.wall(),
        )


@pytest.fixture
def desk(plan: Plan) -> Desk:
    desk = Desk(plan)
    desk.start()
    return desk


def test_a_launched_machine_opens_the_gate(desk: Desk) -> None:
    assert desk.ask().open


def test_a_machine_that_left_its_measured_environment_closes_the_gate(desk: Desk) -> None:
    desk.machine.leave()
    assert not desk.ask().open
    assert desk.machine.evidence(b"").root_of_trust is RootOfTrust.NONE


def test_sleep_closes_the_gate_until_a_new_launch(desk: Desk) -> None:
    desk.machine.suspend()
    desk.machine.resume()
    asleep = desk.ask()
    desk.measure()
    assert (asleep.open, desk.ask().open) == (False, True)


def test_what_the_vmm_held_in_memory_is_gone_after_a_reset_it_did_not_see_coming(desk: Desk) -> None:
    desk.memory.write(Hpa(0x600_0000), b"a secret")
    steps = [step.name for step in desk.machine.power_on()]
    assert desk.memory.read(Hpa(0x600_0000), 8) == bytes(8)
    assert "scrub memory" in steps


def test_a_machine_that_left_in_order_has_nothing_to_scrub(desk: Desk) -> None:
    desk.machine.leave()
    assert "scrub memory" not in [step.name for step in desk.machine.power_on()]


def test_leaving_twice_is_leaving_once(desk: Desk) -> None:
    desk.machine.leave()
    desk.machine.leave()
    assert not desk.ask().open

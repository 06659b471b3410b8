"""A machine brought up on the word of a verifier elsewhere: the whole way, with a broker between."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from tests.control.test_verifier import KEY, port, served
from tests.supervisor.machines import build
from vafw.attest.desk import VerifierDesk, Watched
from vafw.attest.enrolment import Enrolments, Registrar
from vafw.attest.ledger import Ledger
from vafw.attest.token import ResultSigner
from vafw.control.bus import MqttLine
from vafw.control.verifier import FarVerifier
from vafw.errors import GateClosed, GateUnavailable
from vafw.supervisor.far_appraiser import FarAppraiser
from vafw.supervisor.supervisor import Supervisor

__all__ = ["port"]


@pytest.mark.parametrize("accepted", [True, False])
async def test_the_word_of_a_far_verifier_opens_the_gate_or_keeps_it_closed(
    topology: Path, port: int, accepted: bool
) -> None:
    machine, platform = build(topology)
    plan, clock = machine.plan, machine.clock
    registrar = Registrar(Enrolments(Ledger(None, clock)), clock, secrets.token_bytes)
    identity = replace(machine.provider.enrol(registrar), platform="lab:pc 1")
    reference = plan.reference if accepted else replace(plan.reference, vmm=())
    documents = {kind: plan.documents[kind] for kind in ("topology", "policy")}
    images = tuple(dict.fromkeys(vm.image.name for vm in plan.vms))
    watched = Watched(identity, reference, plan.name, plan.digest, documents, images)
    desk = VerifierDesk({"lab:pc 1": watched}, ResultSigner(KEY, "verifier", clock), clock, secrets.token_bytes)
    far = FarVerifier(MqttLine("127.0.0.1", port, "pc"), "lab:pc 1")
    appraiser = FarAppraiser(far, KEY.public_key(), "verifier", clock)
    supervisor = Supervisor(plan, platform, appraiser, clock=clock, trace=machine.trace)
    async with served(port, desk):
        if accepted:
            await supervisor.start()
            await supervisor.stop()
        else:
            with pytest.raises(GateClosed, match=r"^there is no reference value of the VMM, and it was measured$"):
                await supervisor.start()
    assert [name for name in platform.calls if name.startswith("start")] == (
        ["start firewall", "start dns", "start user-os"] if accepted else []
    )


async def test_without_an_answer_the_gate_stays_closed(
    topology: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vafw.control.verifier.ANSWER_TIMEOUT_S", 0.3)
    machine, platform = build(topology)
    far = FarVerifier(MqttLine("127.0.0.1", port, "pc"), "lab:pc 1")
    appraiser = FarAppraiser(far, KEY.public_key(), "verifier", machine.clock)
    supervisor = Supervisor(machine.plan, platform, appraiser, clock=machine.clock, trace=machine.trace)
    with pytest.raises(GateUnavailable, match=r"^no attestation could be had: the verifier must answer within 0 s"):
        await supervisor.start()
    assert not [name for name in platform.calls if name.startswith("start")]

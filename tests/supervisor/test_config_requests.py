"""Requests for configuration where no agent answers, and what cannot be asked for at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.control.parts import CONTROLLER_KEY, NOW, PEOPLE, key_line
from tests.supervisor.machines import copy_office
from vafw.clock import ManualClock
from vafw.control.approval import NAMESPACE
from vafw.control.bus import MqttLine
from vafw.control.controller import Controller
from vafw.control.ledger import Ledger
from vafw.control.proposal import Proposal
from vafw.control.topics import CONTROLLER
from vafw.document.load import load_topology
from vafw.errors import Refused, UsageError
from vafw.machine.authority import Authority
from vafw.machine.capability import Capability
from vafw.openssh.signature import sign
from vafw.plan.compile import compile_plan
from vafw.supervisor.config_requests import ConfigRequests
from vafw.trace import Trace

CHANGE = "traffic.default=reject"


@pytest_asyncio.fixture
async def requests(tmp_path: Path) -> AsyncIterator[ConfigRequests]:
    """Of a machine whose firewall anna configures, and whose agents are all away."""
    topology = copy_office(tmp_path / "office")
    documents = load_topology(topology)
    compiled = compile_plan(documents, ~Capability(0))
    asked = Authority(1, {"anna": key_line("anna")})
    plan = replace(compiled, vms=tuple(replace(vm, authority=asked) for vm in compiled.vms))
    clock = ManualClock(NOW)
    async with Ledger.open(tmp_path / "ledger", clock) as ledger:
        config = dict(plan.vm("firewall").config)
        entry = await ledger.commit("firewall", config, seen=None, basis={}, note="", author="")
        controller = Controller(plan.name, ledger, MqttLine("127.0.0.1", 1, CONTROLLER), CONTROLLER_KEY, clock)
        yield ConfigRequests(
            controller,
            ledger,
            documents,
            topology,
            plan=plan,
            key=CONTROLLER_KEY.public_key(),
            clock=clock,
            trace=Trace(clock.monotonic),
            entries={"firewall": entry},
        )


async def proposed(requests: ConfigRequests, **details: Any) -> Proposal:
    asked = {"verb": "propose", "appliance": "firewall", "kind": "set", "changes": [CHANGE], **details}
    answer: Any = await requests.answer(asked)
    return Proposal.of_answer(answer)


async def test_a_signed_trial_waits_until_what_it_would_go_back_to_runs(requests: ConfigRequests) -> None:
    proposal = await proposed(requests, **{"within-s": 30})
    signed = proposal.signed(sign(proposal.statement.data, NAMESPACE, PEOPLE["anna"]))
    with pytest.raises(Refused) as refused:
        await requests.answer({"verb": "apply", "appliance": "firewall", "approval": signed.approval.to_json()})
    assert refused.value.message == ("a trial of firewall must build on what runs, and generation 1.1 does not run yet")


@pytest.mark.parametrize("valid", [0, -1, 7 * 86400 + 1, "1 h", None])
async def test_a_proposal_that_is_valid_for_ever_is_refused(requests: ConfigRequests, valid: object) -> None:
    with pytest.raises(UsageError) as refused:
        await proposed(requests, **{"valid-s": valid})
    message = f"a proposal must be valid for more than nothing and 7 d at most, not {valid}"
    assert refused.value.message == message


async def test_a_proposal_of_no_kind_is_refused(requests: ConfigRequests) -> None:
    with pytest.raises(UsageError) as refused:
        await proposed(requests, kind="melt")
    assert refused.value.message == "a proposal must be one of set, push, rollback, confirm, not 'melt'"


async def test_a_confirmation_of_nothing_cannot_be_proposed(requests: ConfigRequests) -> None:
    with pytest.raises(Refused) as refused:
        await proposed(requests, kind="confirm")
    assert refused.value.message == (
        "firewall must have a change on trial to confirm, and has none: generation 1.1 never was on trial"
    )


async def test_what_is_proposed_changes_nothing(requests: ConfigRequests) -> None:
    await proposed(requests)
    state: Any = await requests.answer({"verb": "get", "appliance": "firewall"})
    assert state["desired"]["generation"] == 1


async def test_the_same_proposal_is_made_of_the_same_wish(requests: ConfigRequests) -> None:
    assert await proposed(requests) == await proposed(requests)

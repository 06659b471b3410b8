"""`vafw attest explain`: a fresh launch event by event, which PCR parts from its log first, and what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.errors import ExitCode

if TYPE_CHECKING:
    from vafw.attest.evidence import Evidence
    from vafw.attest.result import AttestationResult
    from vafw.plan.plan import Plan


@click.command(
    epilog="Example: vafw attest explain policies/office-laptop --tamper vmm. Exit codes: as of vafw attest."
)
@topology_argument
@click.option("--tamper", metavar="COMPONENT[:BIT]", help="Alter a component of the launch, as in `vafw up`.")
@json_option
def command(topology: Path, tamper: str | None, as_json: bool) -> int:
    """Launch TOPOLOGY on the model platform, start nothing, and account for every event of its log."""
    from vafw.attest.accepted import Acceptance
    from vafw.attest.account import account_events, account_registers  # deferred with all below: large imports
    from vafw.attest.expectation import Expectation
    from vafw.attest.explain import explain
    from vafw.attest.profile import profile_of
    from vafw.attest.result import Tier
    from vafw.wire import FormatError

    plan, evidence, result = asyncio.run(_launched(topology, tamper))
    documents = {kind: plan.documents[kind] for kind in ("topology", "policy")}
    images = tuple(dict.fromkeys(vm.image.name for vm in plan.vms))
    expectation = Expectation(plan.digest, documents, images, plan.name)
    acceptance = Acceptance(plan.reference, expectation, profile_of(evidence.root_of_trust))
    try:
        events, registers = account_events(evidence, acceptance), account_registers(evidence)
    except FormatError:  # no launch wrote a log, or it was damaged: the result says which
        events, registers = (), ()
    sentences = explain(result)
    code = ExitCode.DONE if result.tier is Tier.AFFIRMING else ExitCode.GATE_FAILED
    if not as_json:
        from vafw.cli.attest_tables import print_account

        print_account(events, registers, sentences)
    return Output(as_json, "AttestExplain").result(
        {
            "events": [each.to_json() for each in events],
            "registers": [{"pcr": each.pcr, "quoted": each.quoted.hex(), "agrees": each.agrees} for each in registers],
            "explanation": list(sentences),
            "tier": result.tier.value,
        },
        code,
    )


async def _launched(topology: Path, tamper: str | None) -> tuple[Plan, Evidence, AttestationResult]:
    """The plan, the evidence of a fresh launch for a fresh nonce, and what the verifier says of it."""
    from vafw.cli.model_platform import assembly, load_plan
    from vafw.clock import SystemClock
    from vafw.provider.model.tamper import TamperPlan
    from vafw.provider.model.traffic import Traffic
    from vafw.trace import Trace

    plan, clock = load_plan(topology), SystemClock()
    machine = assembly(plan, Traffic(), TamperPlan.parse(tamper, plan) if tamper else None)
    platform, appraiser = machine(clock, Trace(clock.monotonic))
    try:
        await platform.launch()
        nonce = await appraiser.challenge()
        evidence = await platform.evidence(nonce)
        return plan, evidence, (await appraiser.appraise(evidence, nonce, plan)).result
    finally:
        await platform.power_off()

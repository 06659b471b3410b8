"""`vafw attest explain`: a fresh launch event by event, which PCR parts from its log first, and what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.errors import ExitCode

if TYPE_CHECKING:
    from vafw.attest.evidence import Evidence
    from vafw.attest.result import AttestationResult
    from vafw.plan.plan import Plan
    from vafw.supervisor.run import Assembly

    Launched: TypeAlias = tuple[Plan, Evidence, AttestationResult]


@click.command(
    epilog="Example: vafw attest explain policies/office-laptop --tamper vmm. Exit codes: as of vafw attest."
)
@topology_argument
@click.option("--tamper", metavar="COMPONENT[:BIT]", help="Alter a component of the launch, as in `vafw up`.")
@click.option(
    "--platform", type=click.Choice(["model", "qemu"]), default="model", show_default=True, help="On which platform."
)
@json_option
def command(topology: Path, tamper: str | None, platform: str, as_json: bool) -> int:
    """Launch TOPOLOGY, start nothing, and account for every event of its log."""
    from vafw.attest.accepted import Acceptance
    from vafw.attest.account import account_events, account_registers  # deferred with all below: large imports
    from vafw.attest.expectation import Expectation
    from vafw.attest.explain import explain
    from vafw.attest.profile import profile_of
    from vafw.attest.result import Tier
    from vafw.wire import FormatError

    plan, evidence, result = (
        _on_qemu(topology, tamper) if platform == "qemu" else asyncio.run(_launched(topology, tamper))
    )
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


def _on_qemu(topology: Path, tamper: str | None) -> Launched:
    """A fresh launch on the QEMU platform; Locked where the topology runs, whose TPM this would take away."""
    from vafw.cli.qemu_platform import assembly, load_plan
    from vafw.provider.qemu.tamper import Tamper
    from vafw.supervisor.run_directory import RunDirectory

    plan = load_plan(topology)
    machine = assembly(plan, tamper=Tamper.parse(tamper, plan) if tamper else None)
    with RunDirectory(plan.name).hold():
        return asyncio.run(_proven(plan, machine))


async def _launched(topology: Path, tamper: str | None) -> Launched:
    from vafw.cli.model_platform import assembly, load_plan
    from vafw.provider.model.tamper import TamperPlan
    from vafw.provider.model.traffic import Traffic

    plan = load_plan(topology)
    return await _proven(plan, assembly(plan, Traffic(), TamperPlan.parse(tamper, plan) if tamper else None))


async def _proven(plan: Plan, machine: Assembly) -> Launched:
    """The plan, the evidence of a fresh launch for a fresh nonce, and what the verifier says of it."""
    from vafw.clock import SystemClock
    from vafw.trace import Trace

    clock = SystemClock()
    platform, appraiser = machine(clock, Trace(clock.monotonic))
    try:
        await platform.launch()
        nonce = await appraiser.challenge()
        evidence = await platform.evidence(nonce)
        return plan, evidence, (await appraiser.appraise(evidence, nonce, plan)).result
    finally:
        await platform.power_off()

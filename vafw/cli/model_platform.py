"""The model platform, assembled for one run: where documents, provider and verifier meet.

The only module of the command line that imports the modelled PC; verbs import it when they are about to use it.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from vafw.attest.enrolment import Enrolments, Registrar
from vafw.attest.ledger import Ledger
from vafw.clock import Clock
from vafw.document.load import load_document, load_topology
from vafw.document.traffic_script import TrafficScript
from vafw.plan.compile import compile_plan
from vafw.plan.plan import Plan
from vafw.provider.model.provider import ModelProvider
from vafw.provider.model.tamper import TamperPlan
from vafw.provider.model.traffic import Traffic
from vafw.supervisor.appliance_secrets import ApplianceSecrets
from vafw.supervisor.appraiser import InProcessAppraiser
from vafw.supervisor.platform import Appraiser, Platform
from vafw.supervisor.run import Assembly
from vafw.supervisor.state_folder import secrets_folder
from vafw.trace import Trace, Value


def load_plan(topology: Path) -> Plan:
    """Read, check and compile a topology for the model platform; InvalidDocument carries every error of every file."""
    return compile_plan(load_topology(topology), ModelProvider.CAPABILITY)


def script_steps(path: Path) -> tuple[Value, ...]:
    """The steps of a traffic script as the user OS takes them; InvalidDocument carries every error."""
    script = load_document(path, TrafficScript).model
    return tuple(step.model_dump(exclude_defaults=True) for step in script.steps)


def assembly(plan: Plan, traffic: Traffic, tamper: TamperPlan | None = None) -> Assembly:
    """Makes a modelled PC for `plan`, and a verifier that has enrolled its attestation key."""

    def assemble(clock: Clock, trace: Trace) -> tuple[Platform, Appraiser]:
        random = secrets.token_bytes
        secret_of = ApplianceSecrets(secrets_folder(plan.name)).of
        platform = ModelProvider(
            plan, traffic, clock=clock, trace=trace, random=random, tamper=tamper, secret_of=secret_of
        )
        identity = platform.enrol(Registrar(Enrolments(Ledger(None, clock)), clock, random))
        return platform, InProcessAppraiser(plan.reference, identity, clock, random)

    return assemble

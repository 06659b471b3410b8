"""The platforms that the contract is held against, each with what the cases need to know of it."""

from __future__ import annotations

import functools
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from vafw.attest.enrolment import Enrolments, Registrar
from vafw.attest.ledger import Ledger
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.clock import Clock
from vafw.document.load import load_topology
from vafw.errors import PlatformUnable
from vafw.machine.authority import Authority
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.plan import Plan
from vafw.provider.model import image as model_image
from vafw.provider.model import measure as model_measure
from vafw.provider.model.provider import ModelProvider
from vafw.provider.model.tamper import TamperPlan
from vafw.provider.model.traffic import Feed, Traffic
from vafw.provider.peer import peers
from vafw.provider.qemu.base import build_base, load_base
from vafw.provider.qemu.wire import Answers
from vafw.supervisor.appraiser import InProcessAppraiser
from vafw.supervisor.platform import Appraiser, Platform
from vafw.trace import Trace, Value

OFFICE: Final = Path(__file__).parents[2] / "policies" / "office-laptop" / "topology.yaml"
Assemble = Callable[[Clock, Trace], tuple[Platform, Appraiser]]


@dataclass(frozen=True)
class Bench:
    """One platform with the shipped example on it."""

    name: str
    plan: Plan
    capability: Capability
    assemble: Callable[[tuple[Value, ...], str | None], Assemble]
    """Script and tamper in, platform and verifier out."""


def model_bench(_state: Path) -> Bench:
    """The modelled PC."""
    plan = compile_plan(load_topology(OFFICE), ModelProvider.CAPABILITY)
    images = [model_image.load(vm.image.folder, vm.image.name) for vm in plan.vms]
    measured = model_measure.measure_installed(images)
    accepted = replace(plan, reference=_reference(measured.sinit, measured.vmm, dict(measured.images)))

    def assemble(script: tuple[Value, ...], tamper: str | None) -> Assemble:
        def make(clock: Clock, trace: Trace) -> tuple[Platform, Appraiser]:
            altered = TamperPlan.parse(tamper, accepted) if tamper else None
            traffic = Traffic(Feed.SCRIPT, script=script)
            random = secrets.token_bytes
            platform = ModelProvider(accepted, traffic, clock=clock, trace=trace, random=random, tamper=altered)
            registrar = Registrar(Enrolments(Ledger(None, clock)), clock, random)
            return platform, InProcessAppraiser(accepted.reference, platform.enrol(registrar), clock, random)

        return make

    return Bench("model", accepted, ModelProvider.CAPABILITY, assemble)


def qemu_bench(
    state: Path, topology: Path = OFFICE, answers: Answers | None = None, authority: Authority | None = None
) -> Bench:
    """Real VMs; skipped, with the reason, where this host cannot have them.

    `answers` is behind the path's own wire, `authority` is the firewall's.
    """
    require_qemu()
    from vafw.provider.qemu.enrolment import enrol  # deferred: tpm2-pytss may not be installed
    from vafw.provider.qemu.measure import measure_installed
    from vafw.provider.qemu.provider import QemuProvider
    from vafw.provider.qemu.tamper import Tamper

    plan = compile_plan(load_topology(topology), QemuProvider.CAPABILITY)
    if authority is not None:
        vms = tuple(replace(vm, authority=authority) if vm.name == "firewall" else vm for vm in plan.vms)
        plan = replace(plan, vms=vms)
    measured = measure_installed(plan.vms)
    accepted = replace(plan, reference=_reference(measured.launcher, measured.vmm, dict(measured.images)))
    behind: dict[str, Answers] = {function: peer.handle for function, peer in peers(plan).items()}
    if answers is not None:
        behind[plan.path[0]] = answers

    def assemble(script: tuple[Value, ...], tamper: str | None) -> Assemble:
        def make(clock: Clock, trace: Trace) -> tuple[Platform, Appraiser]:
            altered = Tamper.parse(tamper, accepted) if tamper else None
            platform = QemuProvider(
                accepted,
                state=state,
                notes=state,
                answers=behind,
                clock=clock,
                trace=trace,
                script=script,
                tamper=altered,
            )
            registrar = Registrar(Enrolments(Ledger(None, clock)), clock, secrets.token_bytes)
            identity = enrol(accepted.name, state, registrar)
            return platform, InProcessAppraiser(accepted.reference, identity, clock, secrets.token_bytes)

        return make

    return Bench("qemu", accepted, QemuProvider.CAPABILITY, assemble)


BENCHES: Final[dict[str, Callable[[Path], Bench]]] = {"model": model_bench, "qemu": qemu_bench}


@functools.cache
def guests_are_missing() -> str:
    """Why no guest can be booted here; empty where one can. Builds the guests' base where it was not built yet."""
    if shutil.which("qemu-system-x86_64") is None:
        return "qemu-system-x86_64 is not installed (Debian package qemu-system-x86)"
    try:
        load_base()
    except PlatformUnable:
        try:
            build_base()
        except PlatformUnable as error:
            return f"the guests' base cannot be built: {error.message}"
    return ""


@functools.cache
def qemu_is_missing() -> str:
    """Why the QEMU platform cannot run here; empty where it can."""
    if shutil.which("swtpm") is None:
        return "swtpm is not installed (Debian package swtpm)"
    try:
        import vafw.provider.qemu.provider  # noqa: F401  # deferred: refuses to be imported without tpm2-pytss
    except PlatformUnable as error:
        return error.message
    return guests_are_missing()


def require_guests() -> None:
    """Skip the test where no guest can be booted."""
    if reason := guests_are_missing():
        pytest.skip(reason)


def require_qemu() -> None:
    """Skip the test where the QEMU platform cannot run."""
    if reason := qemu_is_missing():
        pytest.skip(reason)


def _reference(sinit: bytes, vmm: bytes, images: dict[str, bytes]) -> ReferenceValues:
    accepted = {name: (AcceptedValue(digest),) for name, digest in images.items()}
    return ReferenceValues("contract", (AcceptedValue(sinit),), (AcceptedValue(vmm),), accepted)

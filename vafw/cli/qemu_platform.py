"""The QEMU platform, assembled for one run: where documents, provider and verifier meet.

Its reference values lie beside the topology's own, under the same name with ``-qemu`` before the suffix. They hold for
the QEMU and the packages of one host, where the model's hold everywhere: so they are a file of their own, and none that
is shipped. `vafw measure TOPOLOGY --platform qemu --write` writes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import Certificate

from vafw.attest.enrolment import Enrolments, Identity, Registrar
from vafw.attest.ledger import Ledger
from vafw.clock import Clock, SystemClock
from vafw.document.load import load_document, load_topology
from vafw.document.reference_values import ReferenceValuesDocument
from vafw.errors import NoSuchObject, UsageError
from vafw.plan.compile import compile_plan, reference_values
from vafw.plan.plan import Plan
from vafw.provider.peer import peers
from vafw.provider.qemu.enrolment import enrol as enrol_tpm
from vafw.provider.qemu.enrolment import platform_name
from vafw.provider.qemu.launch import Measurements
from vafw.provider.qemu.measure import measure_installed
from vafw.provider.qemu.provider import QemuProvider
from vafw.provider.qemu.tamper import Tamper
from vafw.provider.qemu.uplink import Uplink
from vafw.supervisor.appliance_secrets import ApplianceSecrets
from vafw.supervisor.appraiser import InProcessAppraiser
from vafw.supervisor.platform import Appraiser, Platform
from vafw.supervisor.run import Assembly
from vafw.supervisor.run_directory import RunDirectory
from vafw.supervisor.state_folder import ledger_path, platform_state, secrets_folder
from vafw.trace import Trace, Value


@dataclass(frozen=True, slots=True)
class Far:
    """A verifier elsewhere: where its broker is, and the public key that its results count by."""

    host: str
    port: int
    key: bytes
    """PEM."""

    def appraiser(self, platform: str, clock: Clock) -> Appraiser:
        """The verifier as the supervisor asks it; UsageError where the key is none on P-256."""
        from vafw.control.bus import MqttLine  # deferred: MQTT is for those who have a verifier elsewhere
        from vafw.control.verifier import ISSUER, FarVerifier
        from vafw.supervisor.far_appraiser import FarAppraiser

        try:
            key = load_pem_public_key(self.key)
        except ValueError as error:
            raise UsageError(f"--verifier-key must be a public key in PEM: {error}") from error
        if not isinstance(key, EllipticCurvePublicKey):
            raise UsageError("--verifier-key must be a key on P-256, as `vafw verifier --key` prints it")
        line = MqttLine(self.host, self.port, f"attester-{secrets.token_hex(4)}")
        return FarAppraiser(FarVerifier(line, platform), key, ISSUER, clock)


def load_plan(topology: Path) -> Plan:
    """Read, check and compile a topology for the QEMU platform, with the reference values of this host.

    InvalidDocument carries every error of every file; NoSuchObject where the host was not measured yet.
    """
    path = reference_values_path(topology)
    if not path.exists():
        raise NoSuchObject(
            f"the QEMU platform of this host must have reference values, and there are none: {path}",
            hint=f"`vafw measure {topology} --platform qemu --write` writes them",
        )
    return replace(_compiled(topology), reference=reference_values(load_document(path, ReferenceValuesDocument).model))


def reference_values_path(topology: Path) -> Path:
    """Where the reference values of this host's QEMU platform lie."""
    documents = load_topology(topology, measuring=True)
    path = documents.folder / documents.topology.model.reference_values
    return path.with_stem(f"{path.stem}-qemu")


def measure(topology: Path) -> tuple[str, Measurements]:
    """The topology's name, and what the launcher, this host's QEMU and its images measure to."""
    plan = _compiled(topology, measuring=True)
    return plan.name, measure_installed(plan.vms)


def enrol(topology: str, authorities: Sequence[Certificate] = ()) -> Identity:
    """Enrol the TPM that the topology of this name runs on; EnrolmentRefused where it is bound to something else."""
    clock = SystemClock()
    with closing(Ledger(ledger_path(), clock)) as ledger:
        registrar = Registrar(Enrolments(ledger), clock, secrets.token_bytes, authorities)
        return enrol_tpm(topology, platform_state(topology), registrar)


def assembly(
    plan: Plan,
    script: tuple[Value, ...] = (),
    tamper: Tamper | None = None,
    wire: str | None = None,
    far: Far | None = None,
    *,
    unplugged: Mapping[str, float] | None = None,
) -> Assembly:
    """Makes the platform for `plan`, and a verifier that knows its TPM.

    Behind each wire is a small internet; behind the path's own what `wire` says: ``user``, or ``tap:NAME``. With `far`
    the verifier is elsewhere, and this host need not know its own TPM. `unplugged` says whose cable is pulled and when.
    """
    uplink = Uplink.parse(wire)

    def assemble(clock: Clock, trace: Trace) -> tuple[Platform, Appraiser]:
        platform = QemuProvider(
            plan,
            state=platform_state(plan.name),
            notes=RunDirectory(plan.name).path / "qemu",
            answers={function: peer.handle for function, peer in peers(plan).items()},
            clock=clock,
            trace=trace,
            script=script,
            tamper=tamper,
            uplink=uplink,
            secret_of=ApplianceSecrets(secrets_folder(plan.name)).of,
            unplugged=unplugged,
        )
        if far is not None:
            return platform, far.appraiser(platform_name(plan.name), clock)
        hint = "`vafw attest enrol TOPOLOGY` enrols it, and so does `vafw measure TOPOLOGY --platform qemu --write`"
        with closing(Ledger(ledger_path(), clock)) as ledger:
            identity = Enrolments(ledger).require(platform_name(plan.name), hint)
        return platform, InProcessAppraiser(plan.reference, identity, clock, secrets.token_bytes)

    return assemble


def _compiled(topology: Path, *, measuring: bool = False) -> Plan:
    return compile_plan(load_topology(topology, measuring=measuring), QemuProvider.CAPABILITY)

"""A dynamic launch done in software: the sequence of GETSEC[SENTER], by this process, on a TPM that only it reaches.

    locality 4   hash sequence     PCR 17   this launcher: the sources of this package
    locality 3   PCR extend        PCR 18   what runs the VMs: QEMU, its accelerator, its firmware
    locality 2   PCR extend        PCR 19   the plan, topology and policy, and every image

The log is of the model's form, and the same verifier appraises it; which events it must hold is
`vafw.attest.profile.SOFTWARE_LAUNCH`. The root of trust is the process that does this. It measures QEMU's files where
they lie, root's own; images it reads once, and hands the VMs the bytes that it measured. ``root-of-trust:
software-launch`` says so in every result.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from vafw.attest.attester import evidence_of
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.errors import GateClosed, PlatformUnable
from vafw.machine.report import LaunchStep
from vafw.plan.plan import Plan, canonical_json
from vafw.provider.qemu.argv import QEMU
from vafw.provider.qemu.image import GuestImage
from vafw.provider.qemu.swtpm import Swtpm
from vafw.tcg.algorithms import SHA256, hash_sequence_value
from vafw.tcg.eventlog import Event, encode_log
from vafw.tcg.events import EventType
from vafw.tcg.selection import PcrSelection

LAUNCHER_PCR, VMM_PCR, PLAN_PCR = 17, 18, 19
VMM_LOCALITY: Final = 3
PLAN_LOCALITY: Final = 2
SELECTION: Final = PcrSelection.of({SHA256: (LAUNCHER_PCR, VMM_PCR, PLAN_PCR)})
_NO_CONTROLS: Final = bytes(4)
"""What GETSEC[SENTER] takes in EDX, and appends to SINIT's digest."""
_FIRMWARE: Final = ("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin", "vgabios-stdvga.bin")
"""What QEMU loads into a VM besides the image, in the folders that Debian's packages put it in."""
_FIRMWARE_FOLDERS: Final = (Path("/usr/share/seabios"), Path("/usr/share/qemu"), Path("/usr/lib/ipxe/qemu"))
_ACCELERATORS: Final = Path("/usr/lib/x86_64-linux-gnu/qemu")


@dataclass(frozen=True, slots=True)
class Measurements:
    """Digests of everything that a verifier holds against reference values; SHA-256, 32 bytes each."""

    launcher: bytes
    vmm: bytes
    images: Mapping[str, bytes]
    """By image name."""


def launcher_digest() -> bytes:
    """SHA-256 over the sources of this package, by name; those of the guest are in the images."""
    folder = Path(__file__).parent
    files = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(folder.glob("*.py"))}
    return hashlib.sha256(canonical_json(dict(files))).digest()


def vmm_manifest() -> bytes:
    """What runs the VMs, each file with its SHA-256, as canonical JSON; PlatformUnable where QEMU is not there."""
    program = shutil.which(QEMU)
    if program is None:
        raise PlatformUnable(
            f"the QEMU platform needs {QEMU}, and it is not there", hint="Debian's package qemu-system-x86 has it"
        )
    files = [Path(program).resolve(), *sorted(_ACCELERATORS.glob("accel-tcg-*.so"))]
    for name in _FIRMWARE:
        files += [folder / name for folder in _FIRMWARE_FOLDERS if (folder / name).exists()][:1]
    return canonical_json({str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files})


def measure(images: Sequence[GuestImage]) -> Measurements:
    """What this launcher, this host's QEMU and these images measure to."""
    vmm = hashlib.sha256(vmm_manifest()).digest()
    return Measurements(launcher_digest(), vmm, {each.name: each.digest for each in images})


@final
class SoftwareLaunch:
    """One launch on one TPM, and the evidence of it."""

    def __init__(self, tpm: Swtpm) -> None:
        self._tpm = tpm
        self._events: list[Event] = []
        self._measured: dict[str, bytes] = {}

    def begin(self) -> tuple[LaunchStep, ...]:
        """Measure the launcher at locality 4 and what runs the VMs at locality 3."""
        data = launcher_digest() + _NO_CONTROLS
        self._tpm.hash_sequence(data)
        value = hash_sequence_value(SHA256, data)
        self._events.append(Event(LAUNCHER_PCR, EventType.TXT_HASH_START, {SHA256: value}, data))
        manifest = vmm_manifest()
        digest = hashlib.sha256(manifest).digest()
        self._tpm.extend(VMM_PCR, {SHA256: digest}, VMM_LOCALITY)
        self._events.append(Event(VMM_PCR, EventType.TXT_MLE_HASH, {SHA256: digest}, manifest))
        return (
            LaunchStep("hash sequence", f"locality 4, PCR {LAUNCHER_PCR}: the launcher  {data[:32].hex()}"),
            LaunchStep(f"extend PCR {VMM_PCR}", f"locality {VMM_LOCALITY}, {QEMU}  {digest.hex()}"),
        )

    def measure_plan(self, plan: Plan, images: Sequence[GuestImage]) -> tuple[LaunchStep, ...]:
        """Measure the plan, the documents and every image at locality 2."""
        steps = [self._labelled(f"vafw plan {plan.name}", plan.digest)]
        steps += [
            self._labelled(f"vafw {kind}", bytes.fromhex(plan.documents[kind])) for kind in ("topology", "policy")
        ]
        self._measured = {each.name: each.digest for each in images}
        steps += [self._labelled(f"vafw image {name}", digest) for name, digest in self._measured.items()]
        return tuple(steps)

    def require_measured(self, image: GuestImage) -> None:
        """GateClosed where an image that is about to start is not the one that this launch measured."""
        if (found := image.digest) != self._measured.get(image.name):
            raise GateClosed(
                f"image {image.name} was changed after it was measured: {found.hex()} is about to start",
                hint="launch again, so that what starts is measured and attested",
            )

    def evidence(self, nonce: bytes) -> Evidence:
        """A quote over PCR 17, 18 and 19 for `nonce`, and the log."""
        root = RootOfTrust.SOFTWARE_LAUNCH if self._events else RootOfTrust.NONE
        log = encode_log(self._events, (SHA256,))
        return evidence_of(self._tpm.attester, nonce, SELECTION, event_log=log, root_of_trust=root)

    def _labelled(self, label: str, digest: bytes) -> LaunchStep:
        self._tpm.extend(PLAN_PCR, {SHA256: digest}, PLAN_LOCALITY)
        self._events.append(Event(PLAN_PCR, EventType.EV_IPL, {SHA256: digest}, label.encode()))
        return LaunchStep(f"extend PCR {PLAN_PCR}", f"{label}  {digest.hex()}")

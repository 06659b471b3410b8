"""Enrolling the TPM of the QEMU platform: done once, on purpose, before anything is believed of it.

The state of swtpm lies in a folder of this host. A TPM whose state was replaced since has other keys, and its quotes
are not believed; a platform that was never enrolled is refused, and nothing enrols it on the way.
"""

from __future__ import annotations

from pathlib import Path

from vafw.attest.enrolment import Identity, Registrar
from vafw.provider.qemu.swtpm import Swtpm


def platform_name(topology: str) -> str:
    """How the platform of a topology is called in enrolments."""
    return f"qemu:{topology}"


def enrol(topology: str, state: Path, registrar: Registrar) -> Identity:
    """Enrol the TPM whose state lies in `state`, made now where there is none; EnrolmentRefused where it cannot be."""
    tpm = Swtpm(state / "tpm")
    try:
        return registrar.enrol(platform_name(topology), tpm.attester)
    finally:
        tpm.close()

"""The attestation key as it was enrolled: read from the TPM when this host first used it, and kept beside its state.

A TPM whose state was replaced since has another key, and its quotes are not believed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from vafw.errors import PlatformUnable
from vafw.provider.qemu.swtpm import Swtpm

KEY_FILE: Final = "attestation-key.pem"


def enrolled_key(state: Path) -> EllipticCurvePublicKey:
    """The enrolled key; with no key enrolled yet, that of the TPM whose state lies in the folder, from now on."""
    path = state / KEY_FILE
    if not path.exists():
        _enrol(state, path)
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PlatformUnable(f"the enrolled attestation key must be readable: {path}: {error}") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise PlatformUnable(f"the enrolled attestation key must be one on an elliptic curve: {path}")
    return key


def _enrol(state: Path, path: Path) -> None:
    tpm = Swtpm(state / "tpm")
    try:
        pem = tpm.attestation_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    finally:
        tpm.close()
    written = path.with_suffix(".new")
    written.write_bytes(pem)
    os.replace(written, path)

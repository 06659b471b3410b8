"""The key that this host's verifier signs results with: made once, kept for its owner alone."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from vafw.errors import VafwError
from vafw.supervisor.state_folder import state_folder


def signing_key() -> ec.EllipticCurvePrivateKey:
    """The key, made now where there is none; VafwError where the file is no P-256 key."""
    path = state_folder() / "verifier-key.pem"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except ValueError as error:
        raise VafwError(f"the verifier's key must be readable: {path}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise VafwError(f"the verifier's key must be on P-256: {path}")
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Its public part, for whoever believes its results."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

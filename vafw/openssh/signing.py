"""A signature with a key file, as ``ssh-keygen -Y sign`` makes it.

A key without a passphrase is read here. For any other, ssh-keygen itself is the one that signs: it asks for the
passphrase on the terminal, or the agent that holds the private half of a ``.pub`` file. vafw never sees a passphrase.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from vafw.errors import Refused, UsageError, VafwError
from vafw.openssh.signature import Signature, sign


class NotSigned(VafwError):
    """ssh-keygen was asked for a signature and gave none."""


def sign_with(path: Path, message: bytes, namespace: str) -> Signature:
    """Sign with the key in `path`; UsageError where it is none for this, NotSigned where ssh-keygen gives none.

    Whatever comes back is verified before it is returned.
    """
    signature = _signature(path, message, namespace)
    try:
        signature.verify(message, namespace)
    except Refused as error:
        raise NotSigned(f"ssh-keygen must sign what it is given: {error.message}") from error
    return signature


def _signature(path: Path, message: bytes, namespace: str) -> Signature:
    data = path.read_bytes()
    if data.startswith(b"ssh-"):
        return _by_ssh_keygen(path, message, namespace)
    try:
        key = load_ssh_private_key(data, None)
    except TypeError:  # it has a passphrase
        return _by_ssh_keygen(path, message, namespace)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} must be a private key of OpenSSH, or the public one of a key that an agent holds: {error}",
            hint="ssh-keygen -t ed25519 makes one",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} must be an Ed25519 key, and is another", hint="ssh-keygen -t ed25519 makes one")
    return sign(message, namespace, key)


def _by_ssh_keygen(path: Path, message: bytes, namespace: str) -> Signature:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise NotSigned(
            f"ssh-keygen must be installed to sign with {path}, which has a passphrase or lies in an agent",
            hint="Debian: apt install openssh-client",
        )
    command = [program, "-q", "-Y", "sign", "-n", namespace, "-f", str(path)]
    done = subprocess.run(command, input=message, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise NotSigned(f"ssh-keygen must sign with {path}, and did not: {reason[-1] if reason else done.returncode}")
    return Signature.parse(done.stdout.decode(errors="replace"))

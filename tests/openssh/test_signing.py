"""Key files: read here without a passphrase, and left to ssh-keygen with one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vafw.errors import UsageError
from vafw.openssh.public_key import PublicKey
from vafw.openssh.signing import NotSigned, sign_with

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
MESSAGE, NAMESPACE = b"a statement", "vafw-config"


def key_file(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "anna@desk", "-f", path], check=True)
    return path


def key_of(path: Path) -> PublicKey:
    return PublicKey.parse(path.with_suffix(".pub").read_text().strip())


def answering(folder: Path, passphrase: str) -> str:
    """A program that ssh-keygen asks for the passphrase in place of a terminal."""
    program = folder / "askpass"
    program.write_text(f"#!/bin/sh\necho {passphrase}\n")
    program.chmod(0o700)
    return str(program)


def test_a_key_without_a_passphrase_signs(tmp_path: Path) -> None:
    path = key_file(tmp_path / "id")
    signature = sign_with(path, MESSAGE, NAMESPACE)
    assert signature.key == key_of(path)
    signature.verify(MESSAGE, NAMESPACE)


def test_a_key_with_a_passphrase_signs_through_ssh_keygen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path / "id", "secret")
    monkeypatch.setenv("SSH_ASKPASS", answering(tmp_path, "secret"))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert sign_with(path, MESSAGE, NAMESPACE).key == key_of(path)


def test_a_wrong_passphrase_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path / "id", "secret")
    monkeypatch.setenv("SSH_ASKPASS", answering(tmp_path, "guessed"))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(NotSigned, match=rf"^ssh-keygen must sign with {path}, and did not: .*incorrect passphrase"):
        sign_with(path, MESSAGE, NAMESPACE)


def test_without_ssh_keygen_a_key_with_a_passphrase_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path / "id", "secret")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotSigned) as refused:
        sign_with(path, MESSAGE, NAMESPACE)
    wanted = f"ssh-keygen must be installed to sign with {path}, which has a passphrase or lies in an agent"
    assert (refused.value.message, refused.value.hint) == (wanted, "Debian: apt install openssh-client")


def test_a_public_key_whose_private_half_nobody_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path / "id")
    path.unlink()
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(NotSigned, match=r"^ssh-keygen must sign with .*id\.pub, and did not: "):
        sign_with(path.with_suffix(".pub"), MESSAGE, NAMESPACE)


def test_a_key_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path / "id", kind="ecdsa")
    with pytest.raises(UsageError) as refused:
        sign_with(path, MESSAGE, NAMESPACE)
    assert refused.value.message == f"{path} must be an Ed25519 key, and is another"


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "id"
    path.write_text("not a key\n")
    with pytest.raises(UsageError, match=rf"^{path} must be a private key of OpenSSH, or the public one of a key that"):
        sign_with(path, MESSAGE, NAMESPACE)

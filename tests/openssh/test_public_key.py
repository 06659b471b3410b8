"""OpenSSH's public keys: what ssh-keygen writes is read, and one key has one spelling."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.openssh.public_key import NoPublicKey, PublicKey

RAW = bytes(range(32))
LINE = str(PublicKey(RAW))
BLOB = LINE.partition(" ")[2]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_what_ssh_keygen_writes_is_read_and_has_the_fingerprint_that_it_prints(tmp_path: Path) -> None:
    made = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "anna b@desk", "-f", made], check=True)
    line = made.with_suffix(".pub").read_text().strip()
    key = PublicKey.parse(line)
    assert line == f"{key} anna b@desk"
    printed = subprocess.run(["ssh-keygen", "-lf", made], capture_output=True, text=True, check=True).stdout
    assert printed.split()[1] == key.fingerprint


NOT_THREE_PARTS = "it is not an algorithm, a key in base64 and a comment with one space between them"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("", NOT_THREE_PARTS),
        (BLOB, NOT_THREE_PARTS),
        (f"{LINE}\n", NOT_THREE_PARTS),
        (f" {LINE}", NOT_THREE_PARTS),
        (LINE.replace(" ", "  "), NOT_THREE_PARTS),
        (f"restrict {LINE}", NOT_THREE_PARTS),
        (f"{LINE} ann\u0430@desk", NOT_THREE_PARTS),
        (f"{LINE} {'a' * 500}", NOT_THREE_PARTS),
        (f"ssh-rsa {BLOB}", "its algorithm is ssh-rsa"),
        (f"ssh-ed25519 {BLOB[:-1]}", "its key is no base64"),
        (f"ssh-ed25519 {BLOB}=", "its base64 has bits that mean nothing"),
        (f"ssh-ed25519 {BLOB[:-4]}", "its key is not ssh-ed25519 and 32 bytes"),
        (f"ssh-ed25519 {BLOB}AAAA", "its key is not ssh-ed25519 and 32 bytes"),
        (f"ssh-ed25519 {base64.b64encode(RAW).decode()}", "its key is not ssh-ed25519 and 32 bytes"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "it is a private key, which belongs into no document"),
    ],
)
def test_anything_else_is_refused(line: str, what: str) -> None:
    with pytest.raises(NoPublicKey) as refused:
        PublicKey.parse(line)
    assert str(refused.value) == what


@given(st.text(max_size=120) | st.text("ssh-ed25519AC3NzaC1lZDI= /+", max_size=120))
def test_a_text_is_a_key_in_its_one_spelling_or_none(text: str) -> None:
    try:
        key = PublicKey.parse(text)
    except NoPublicKey:
        return
    assert text.startswith(str(key))


@given(st.binary(min_size=32, max_size=32))
def test_every_key_is_read_as_it_was_written(raw: bytes) -> None:
    assert PublicKey.parse(str(PublicKey(raw))) == PublicKey(raw)
    assert PublicKey.of_blob(PublicKey(raw).blob) == PublicKey(raw)

"""SSHSIG: held against ssh-keygen both ways, and against every alteration."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from vafw.openssh.public_key import PublicKey, string
from vafw.openssh.signature import Signature, SignatureRefused, sign

KEY = Ed25519PrivateKey.from_private_bytes(b"\x11" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x22" * 32)
MESSAGE, NAMESPACE = b'{"a":1}', "vafw-config"
TEXT = str(sign(MESSAGE, NAMESPACE, KEY))
HEAD = "a signature must be an SSHSIG by an ssh-ed25519 key, as ssh-keygen -Y sign writes it: "
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def fields_of(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def armored(fields: bytes) -> str:
    """Armor written a second time, for the tests."""
    body = base64.b64encode(fields).decode()
    lines = [body[at : at + 70] for at in range(0, len(body), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def assembled(
    *,
    magic: bytes = b"SSHSIG",
    version: int = 1,
    namespace: bytes = NAMESPACE.encode(),
    reserved: bytes = b"",
    hash_name: bytes = b"sha512",
    algorithm: bytes = b"ssh-ed25519",
    raw: bytes = bytes(64),
    after: bytes = b"",
) -> str:
    key = PublicKey(KEY.public_key().public_bytes_raw()).blob
    parts = (key, namespace, reserved, hash_name, string(algorithm) + string(raw))
    return armored(magic + struct.pack(">I", version) + b"".join(map(string, parts)) + after)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    path.touch(mode=0o600)
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path


@needs_ssh_keygen
@pytest.mark.parametrize("hash_name", ["sha512", "sha256"])
def test_what_ssh_keygen_signs_is_taken(key_file: Path, hash_name: str) -> None:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-O", f"hashalg={hash_name}", "-f", str(key_file)]
    done = subprocess.run(command, input=MESSAGE, capture_output=True, check=True)
    signature = Signature.parse(done.stdout.decode())
    signature.verify(MESSAGE, NAMESPACE)
    assert signature.hash_name.decode() == hash_name
    assert signature.key.raw == KEY.public_key().public_bytes_raw()


@needs_ssh_keygen
def test_what_is_signed_here_is_what_ssh_keygen_makes_and_verifies(key_file: Path, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key_file)]
    done = subprocess.run(command, input=MESSAGE, capture_output=True, check=True)
    assert done.stdout.decode() == TEXT
    signature, signers = tmp_path / "made.sig", tmp_path / "signers"
    signature.write_text(TEXT)
    signers.write_text(f"anna {PublicKey(KEY.public_key().public_bytes_raw())}\n")
    verify = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", "anna", "-f", str(signers), "-s", str(signature)]
    assert subprocess.run(verify, input=MESSAGE, capture_output=True, check=False).returncode == 0
    assert subprocess.run(verify, input=MESSAGE + b" ", capture_output=True, check=False).returncode != 0


def test_a_signature_is_written_as_it_was_read() -> None:
    assert str(Signature.parse(TEXT)) == TEXT == armored(fields_of(TEXT))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it does not stand between BEGIN and END"),
        (TEXT.replace("BEGIN SSH", "BEGIN PGP"), "it does not stand between BEGIN and END"),
        (TEXT + "\n", "it does not stand between BEGIN and END"),
        (f"{TEXT}{TEXT}", "it is no base64"),
        (TEXT.replace("\n", "\r\n"), "it does not stand between BEGIN and END"),
        (TEXT.rstrip("\n"), "it does not stand between BEGIN and END"),
        (TEXT.replace("U1NI", "U1!I"), "it is no base64"),
        (TEXT.replace("U1NI", "U1NI\n"), "it is not written as ssh-keygen writes it"),
        (assembled(magic=b"SSHSIH"), "it does not begin with SSHSIG"),
        (assembled(version=2), "its version is 2"),
        (assembled(reserved=b"x"), "it has something where nothing may be"),
        (assembled(after=b"x"), "it has something where nothing may be"),
        (assembled(hash_name=b"sha1"), "its hash must be sha512 or sha256, not 'sha1'"),
        (assembled(algorithm=b"ssh-rsa"), "it is not by an ssh-ed25519 key"),
        (assembled(raw=bytes(63)), "it is not by an ssh-ed25519 key"),
        (armored(fields_of(TEXT)[:-1]), "it is cut off"),
        (armored(b"SSHSIG"), "it is cut off"),
    ],
)
def test_what_is_no_signature_is_refused(text: str, what: str) -> None:
    with pytest.raises(SignatureRefused) as refused:
        Signature.parse(text)
    assert refused.value.message == f"{HEAD}{what}"


def test_a_signature_of_another_namespace_or_message_is_refused() -> None:
    signature = sign(MESSAGE, "file", KEY)
    with pytest.raises(SignatureRefused) as refused:
        signature.verify(MESSAGE, NAMESPACE)
    assert refused.value.message == f"{HEAD}its namespace must be vafw-config, not 'file'"
    with pytest.raises(SignatureRefused) as refused:
        Signature.parse(TEXT).verify(b"{}", NAMESPACE)
    fingerprint = PublicKey(KEY.public_key().public_bytes_raw()).fingerprint
    assert refused.value.message == f"a signature must be of what is to be signed, and that by {fingerprint} is not"


def taken(text: str) -> bytes | None:
    """The key that a text is a right signature by; None where it is refused."""
    try:
        signature = Signature.parse(text)
        signature.verify(MESSAGE, NAMESPACE)
    except SignatureRefused:
        return None
    return signature.key.raw


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_no_character_can_be_altered(at: int, character: str) -> None:
    altered = TEXT[:at] + character + TEXT[at + 1 :]
    assert taken(altered) == (None if altered != TEXT else KEY.public_key().public_bytes_raw())


@given(st.integers(0, len(fields_of(TEXT)) - 1), st.integers(1, 255))
def test_no_byte_can_be_altered(at: int, difference: int) -> None:
    fields = bytearray(fields_of(TEXT))
    fields[at] ^= difference
    assert taken(armored(bytes(fields))) is None


@given(st.data())
def test_no_part_can_be_taken_out_repeated_or_put_in(data: st.DataObject) -> None:
    fields = fields_of(TEXT)
    start = data.draw(st.integers(0, len(fields)))
    end = data.draw(st.integers(start, len(fields)))
    put = data.draw(st.binary(max_size=40) | st.just(fields[start:end] * 2))
    altered = fields[:start] + put + fields[end:]
    assert taken(armored(altered)) == (None if altered != fields else KEY.public_key().public_bytes_raw())


@given(st.text(max_size=400) | st.binary(max_size=200).map(armored))
def test_whatever_comes_is_refused_in_a_sentence(text: str) -> None:
    assert taken(text) is None


@given(st.binary(max_size=300), st.sampled_from([KEY, OTHER]))
def test_what_is_signed_is_right_for_its_message_and_key_alone(message: bytes, key: Ed25519PrivateKey) -> None:
    signature = Signature.parse(str(sign(message, NAMESPACE, key)))
    signature.verify(message, NAMESPACE)
    assert signature.key.raw == key.public_key().public_bytes_raw()
    with pytest.raises(SignatureRefused):
        signature.verify(message + b"\n", NAMESPACE)

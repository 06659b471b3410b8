"""The components of a TXT machine, measured from their files: held against tboot's tools and the modelled launch."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.errors import VafwError
from vafw.provider.model.measure import owner_policy, sinit_module
from vafw.txt.acm import AcmFormatError
from vafw.txt.components import hash_of_mle, read_module, read_policy, read_sinit
from vafw.txt.elf import loaded_image, unpacked
from vafw.txt.lcp import Policy, PolicyType
from vafw.txt.lcp_elements import PolicyFormatError
from vafw.txt.mle import MleFormatError
from vafw.wire import FormatError

TBOOT = Path("/boot/tboot.gz")


def elf_of(image: bytes, *, offset: int = 0x100) -> bytes:
    """A 32-bit executable with one segment."""
    head = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x100000, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<8I", 1, offset, 0x100000, 0x100000, len(image), len(image) + 16, 7, 0x1000)
    return (b"\x7fELF\1\1\1".ljust(16, b"\0") + head + segment).ljust(0x100, b"\0") + image


@pytest.mark.skipif(not TBOOT.exists(), reason="the package tboot, whose MLE is hashed here, is not installed")
@pytest.mark.parametrize("line", ["", "logging=serial,vga"])
def test_the_hash_of_the_packed_tboot_is_the_one_that_lcp2_mlehash_prints(line: str) -> None:
    program = shutil.which("lcp2_mlehash") or shutil.which("lcp2_mlehash", path="/usr/sbin")
    if program is None:
        pytest.skip("lcp2_mlehash of the package tboot is not installed")
    command = [program, "--create", "--alg", "sha256", "--cmdline", line, str(TBOOT)]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert hash_of_mle(TBOOT.read_bytes(), line) == bytes.fromhex(theirs)


def test_a_segment_is_followed_by_zeros_up_to_its_size_in_memory() -> None:
    assert loaded_image(gzip.decompress(gzip.compress(elf_of(b"code")))) == b"code" + bytes(16)
    assert unpacked(gzip.compress(b"kernel")) == b"kernel"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "executable, byte 0: it must be a 32-bit little-endian ELF file"),
        (elf_of(b"")[:60], "executable, byte 28: 1 program headers of 32 bytes must lie in the file"),
        (elf_of(b"x", offset=0x200), "executable, byte 52: a segment must lie in the file and fit its place in memory"),
    ],
)
def test_an_executable_that_cannot_be_loaded_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"^{re.escape(message)}$"):
        loaded_image(data)


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda tail: elf_of(b"")[:52] + tail))
def test_no_file_ends_in_an_error_that_is_not_ours(data: bytes) -> None:
    for read in (hash_of_mle, read_sinit, read_policy):
        with pytest.raises(VafwError):
            read(data)


def test_an_image_without_mle_header_is_refused() -> None:
    with pytest.raises(MleFormatError, match=r"^the image must hold an MLE header, and nowhere in it is the UUID of"):
        hash_of_mle(elf_of(b"no header"))


def test_a_damaged_gzip_file_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^gzip: the file must be a whole one: "):
        unpacked(b"\x1f\x8b" + b"\xff" * 20)


def test_a_packed_file_that_was_cut_off_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^gzip: the file must be a whole one: it ends too early$"):
        unpacked(gzip.compress(bytes(range(256)) * 9)[:-20])


def test_a_sinit_module_whose_signature_does_not_hold_is_refused() -> None:
    good = sinit_module()
    covered = hashlib.sha256(good[:128] + good[1216:]).digest()
    assert read_sinit(good).digest == covered
    with pytest.raises(AcmFormatError, match=r"^the module's signature must hold; no processor starts it$"):
        read_sinit(good[:-1] + bytes([good[-1] ^ 1]))


def test_policy_data_that_the_policy_does_not_name_are_refused() -> None:
    one, two = owner_policy([bytes(32)]), owner_policy([b"\1" * 32])
    assert read_policy(one.policy.encode(), one.data.encode()) == one.policy
    with pytest.raises(PolicyFormatError, match=r"^the policy must name its data: it has \w{64}, not \w{64}$"):
        read_policy(one.policy.encode(), two.data.encode())
    with pytest.raises(PolicyFormatError, match=r"^a policy that allows any MLE must come without policy data$"):
        read_policy(Policy(PolicyType.ANY).encode(), one.data.encode())


def test_a_module_is_measured_with_its_command_line_as_tboot_has_it() -> None:
    line, image = hashlib.sha256(b"root=/dev/sda1 ro").digest(), hashlib.sha256(b"kernel").digest()
    for data in (b"kernel", gzip.compress(b"kernel")):
        assert read_module("vmlinuz", data, "root=/dev/sda1 ro").digest == hashlib.sha256(line + image).digest()

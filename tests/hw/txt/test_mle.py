from __future__ import annotations

import gzip
import hashlib
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.txt.conftest import Tool
from vafw.address import PAGE_SIZE, Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.txt import MleFormatError, MleHeader, mle_hash, mle_pages
from vafw.txt import mle
from vafw.vmm.image import build_image

HEADER = MleHeader(
    entry=0x40, first_page=0, start=0, end=0x900, capabilities=0x227, cmdline_start=0x40, cmdline_end=0x7F
)
IMAGE = HEADER.encode().ljust(0x900, b"\x5a") + b"\xa5" * 0x700
TBOOT = Path("/boot/tboot.gz")


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_header_survives_encoding() -> None:
    assert len(HEADER.encode()) == mle.HEADER_SIZE
    assert MleHeader.decode(HEADER.encode()) == HEADER


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (bytes(51), "an MLE header must have 52 bytes, not 51"),
        (bytes(52), f"an MLE header must begin with its UUID, not {bytes(16).hex()}"),
        (HEADER.encode()[:16] + bytes(36), "the MLE header's length must be at least 0x34, not 0x0"),
        (MleHeader(0, 0, 9, 9, 0).encode(), "mle_start must lie below mle_end, not 0x9 and 0x9"),
        (MleHeader(9, 0, 0, 9, 0).encode(), "the MLE's entry point must lie in its 0x9 bytes, not at 0x9"),
    ],
)
def test_a_malformed_header_is_refused(header: bytes, message: str) -> None:
    with pytest.raises(MleFormatError, match=f"^{re.escape(message)}$"):
        MleHeader.decode(header)


@given(st.integers(mle.HEADER_SIZE * 8, 0x40 * 8 - 1) | st.integers(0x80 * 8, 0x900 * 8 - 1))
def test_any_bit_flipped_between_start_and_end_changes_the_hash(bit: int) -> None:
    assert mle_hash(flipped(IMAGE, bit)) != mle_hash(IMAGE)


@given(st.integers(0x900 * 8, len(IMAGE) * 8 - 1))
def test_a_bit_flipped_behind_the_end_changes_nothing(bit: int) -> None:
    assert mle_hash(flipped(IMAGE, bit)) == mle_hash(IMAGE)


@given(st.integers(0x40 * 8, 0x80 * 8 - 1))
def test_what_the_file_holds_in_the_command_lines_place_does_not_matter(bit: int) -> None:
    assert mle_hash(flipped(IMAGE, bit)) == mle_hash(IMAGE)


def test_another_command_line_gives_another_hash() -> None:
    assert len({mle_hash(IMAGE), mle_hash(IMAGE, command_line="quiet"), mle_hash(IMAGE, command_line="debug")}) == 3


def test_a_command_line_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MleFormatError, match=r"^the command line must be shorter than 64 bytes, not 64$"):
        mle_hash(IMAGE, command_line="x" * 64)


def test_an_end_behind_the_image_is_refused() -> None:
    with pytest.raises(MleFormatError, match=r"^mle_end must lie in the 0x800 bytes of the image, not at 0x900$"):
        mle_hash(IMAGE[:0x800])


@given(st.integers(1, 1500))
def test_a_page_table_leads_back_to_the_pages_of_the_image(pages: int) -> None:
    memory = PhysicalMemory(32 << 20)
    base = Hpa(0x10_0000)
    mle_pages.build_page_table(memory, base, Hpa(0x80_0000), pages * PAGE_SIZE - 5)
    walked = mle_pages.walk_page_table(memory, base)
    assert walked == tuple(range(0x80_0000, 0x80_0000 + pages * PAGE_SIZE, PAGE_SIZE))
    assert not any(memory.read(Hpa(base + mle_pages.page_table_size(pages)), PAGE_SIZE))


def test_bytes_are_read_across_pages_that_lie_apart() -> None:
    memory = PhysicalMemory(1 << 20)
    memory.write(Hpa(0x2FFE), b"ab")
    memory.write(Hpa(0x8000), b"cd")
    assert mle_pages.read_linear(memory, (Hpa(0x2000), Hpa(0x8000)), 0xFFE, 0x1002) == b"abcd"


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0x3008, 0x8001, "MLE pages must rise in physical address, not go from 0x8000 to 0x8000"),
        (0x3008, 0x7001, "MLE pages must rise in physical address, not go from 0x8000 to 0x7000"),
        (0x3008, 0x100_0001, "an MLE page table's entry must lead to RAM, not to 0x1000000"),
        (0x1000, 0, "the MLE page table at 0x1000 must map at least one page"),
    ],
)
def test_a_page_table_that_could_hide_memory_is_refused(at: int, value: int, message: str) -> None:
    memory = PhysicalMemory(1 << 20)
    mle_pages.build_page_table(memory, Hpa(0x1000), Hpa(0x8000), 3 * PAGE_SIZE)
    memory.write_u64(Hpa(at), value)
    with pytest.raises(MleFormatError, match=f"^{message}$"):
        mle_pages.walk_page_table(memory, Hpa(0x1000))


def loaded(elf: bytes) -> bytes:
    """The PT_LOAD segments of a 32-bit executable as they lie in memory, from the lowest address on."""
    segments = list(program_headers(elf))
    base = min(address for _, address, _, _ in segments)
    end = max(address + in_memory for _, address, _, in_memory in segments)
    memory = bytearray(end - base)
    for offset, address, in_file, _ in segments:
        memory[address - base : address - base + in_file] = elf[offset : offset + in_file]
    return bytes(memory)


def program_headers(elf: bytes) -> Iterator[tuple[int, int, int, int]]:
    table, size, count = (*struct.unpack_from("<I", elf, 28), *struct.unpack_from("<HH", elf, 42))
    for number in range(count):
        kind, offset, _, address, in_file, in_memory = struct.unpack_from("<6I", elf, table + number * size)
        yield from [(offset, address, in_file, in_memory)] if kind == 1 else []


@pytest.mark.skipif(not TBOOT.exists(), reason="the package tboot, whose MLE is hashed here, is not installed")
@pytest.mark.parametrize(
    ("line", "algorithm", "begin"),
    [
        ("logging=serial,vga", "sha256", "b51dcb27"),
        ("", "sha256", "9d472b48"),
        ("logging=serial,vga", "sha1", "b54e1ca2"),
    ],
)
def test_the_hash_of_tboot_is_the_one_that_lcp2_mlehash_prints(
    tool: Tool, line: str, algorithm: str, begin: str
) -> None:
    image = loaded(gzip.decompress(TBOOT.read_bytes()))
    ours = mle_hash(image, header_at=image.index(mle.MLE_UUID), command_line=line, algorithm=algorithm)
    theirs = bytes.fromhex(tool("lcp2_mlehash", "--create", "--alg", algorithm, "--cmdline", line, str(TBOOT)))
    assert ours == theirs
    assert ours.hex().startswith(begin)


def elf_of(image: bytes) -> bytes:
    """A 32-bit executable with one segment."""
    ident = b"\x7fELF\1\1\1".ljust(16, b"\0")
    head = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x100240, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<8I", 1, 0x1000, 0x100000, 0x100000, len(image), len(image), 7, 0x1000)
    return (ident + head + segment).ljust(0x1000, b"\0") + image


@pytest.mark.parametrize("line", ["", "quiet"])
def test_lcp2_mlehash_finds_the_same_hash_in_our_vmm_image(tool: Tool, tmp_path: Path, line: str) -> None:
    image = build_image({"vmm/vmm.py": b"the VMM" * 900}, line)
    (tmp_path / "vmm.elf").write_bytes(elf_of(image))
    theirs = tool("lcp2_mlehash", "--create", "--alg", "sha256", "--cmdline", line, "vmm.elf")
    assert bytes.fromhex(theirs) == mle_hash(image, command_line=line)
    assert bytes.fromhex(theirs) == hashlib.sha256(image[: MleHeader.decode(image).end]).digest()

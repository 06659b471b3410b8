from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import PAGE_SIZE
from vafw.hw.txt import MleFormatError, MleHeader, mle_hash
from vafw.vmm.archive import unpack
from vafw.vmm.image import ARCHIVE_START, build_image, image_hash, measured_range

SOURCES = {"vmm/vmm.py": b"the VMM\n" * 700, "address.py": b"addresses\n"}
IMAGE = build_image(SOURCES)
COVERED = measured_range(IMAGE)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def hash_or_refusal(image: bytes) -> bytes:
    try:
        return image_hash(image)
    except MleFormatError:
        return b""


def test_an_image_is_whole_pages_with_the_sources_in_it() -> None:
    assert len(IMAGE) % PAGE_SIZE == 0
    assert unpack(IMAGE[ARCHIVE_START : COVERED.stop]) == SOURCES
    assert MleHeader.decode(IMAGE).capabilities == 0x227


def test_the_same_sources_give_the_same_image_in_any_order() -> None:
    assert build_image(dict(reversed(SOURCES.items()))) == IMAGE


@given(st.integers(COVERED.start * 8, COVERED.stop * 8 - 1))
def test_any_bit_flipped_in_the_measured_range_changes_the_hash(bit: int) -> None:
    assert hash_or_refusal(flipped(IMAGE, bit)) != image_hash(IMAGE)


@given(st.integers(COVERED.stop * 8, len(IMAGE) * 8 - 1))
def test_a_bit_flipped_behind_it_does_not(bit: int) -> None:
    assert image_hash(flipped(IMAGE, bit)) == image_hash(IMAGE)


def test_the_hash_is_the_one_the_policy_tools_compute_from_the_command_line() -> None:
    assert image_hash(build_image(SOURCES, "quiet")) == mle_hash(IMAGE, command_line="quiet")
    assert image_hash(IMAGE) == hashlib.sha256(IMAGE[: COVERED.stop]).digest()
    assert image_hash(IMAGE) != image_hash(build_image(SOURCES, "quiet"))


def test_another_source_or_another_name_gives_another_hash() -> None:
    other = {image_hash(build_image({**SOURCES, "address.py": b"!"})), image_hash(build_image({"vmm.py": b""}))}
    assert image_hash(IMAGE) not in other


def test_a_command_line_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MleFormatError, match=r"^the command line must be shorter than 512 bytes, not 512$"):
        build_image(SOURCES, "x" * 512)

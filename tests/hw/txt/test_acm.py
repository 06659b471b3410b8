from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.txt.conftest import KEY, Tool
from vafw.hw.txt import AcmFormatError, build_sinit, coverage_digest
from vafw.txt import acm

CODE = b"the code of SINIT" * 20
MODULE = build_sinit(CODE, KEY)
SIGNED_BYTES = st.one_of(st.integers(0, 127), st.integers(acm.USER_AT, len(MODULE) - 1))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def accepted(module: bytes) -> bool:
    try:
        return acm.parse(module).authenticates
    except AcmFormatError:
        return False


def test_a_module_reads_back_as_it_was_built_and_authenticates() -> None:
    module = acm.parse(MODULE)
    assert module.authenticates
    assert module.modulus == KEY.modulus
    assert module.data[module.code_at :].startswith(CODE)
    assert module.runs_on(0x1_B002_8086)
    assert module.algorithms == (0x0004, 0x000B)
    assert (module.os_sinit_version, module.minimum_mle_version) == (7, 0x20001)


def test_the_same_code_gives_the_same_module() -> None:
    assert build_sinit(CODE, KEY) == MODULE
    assert build_sinit(CODE + b"!", KEY) != MODULE


def test_the_digest_covers_header_and_user_area_and_nothing_between() -> None:
    assert coverage_digest(MODULE) == hashlib.sha256(MODULE[:128] + MODULE[1216:]).digest()


def test_the_signature_holds_the_digest_reversed_under_pkcs1_padding_without_a_digest_info() -> None:
    number = int.from_bytes(MODULE[388:644], "little")
    block = pow(number, 17, int.from_bytes(MODULE[128:384], "little")).to_bytes(256, "big")
    assert block == b"\x00\x01" + b"\xff" * 221 + b"\x00" + coverage_digest(MODULE)[::-1]


def test_the_fused_hash_is_that_of_the_modulus_as_stored() -> None:
    assert KEY.public_key_hash == hashlib.sha256(MODULE[128:384]).digest()


@given(SIGNED_BYTES, st.integers(0, 7))
def test_a_module_with_any_signed_bit_flipped_is_refused(byte: int, bit: int) -> None:
    assert not accepted(flipped(MODULE, byte * 8 + bit))


@given(st.integers(128 * 8, 644 * 8 - 1))
def test_a_module_with_any_bit_of_key_exponent_or_signature_flipped_is_refused(bit: int) -> None:
    assert not accepted(flipped(MODULE, bit))


@given(st.integers(acm.SCRATCH_AT * 8, acm.USER_AT * 8 - 1))
def test_a_flipped_bit_of_the_scratch_space_changes_nothing(bit: int) -> None:
    changed = flipped(MODULE, bit)
    assert accepted(changed)
    assert coverage_digest(changed) == coverage_digest(MODULE)


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused_or_read_but_never_authenticate(data: bytes) -> None:
    assert not accepted(data)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\3", "the module's module type must be 0x2, not 0x3"),
        (4, b"\0", "the module's header length must be 0xa1, not 0x0"),
        (8, b"\4", "the module's header version must be 0x0, not 0x4"),
        (16, b"\0", "the module's module vendor must be 0x8086, not 0x8000"),
        (24, b"\1", f"the module's size must be {len(MODULE):#x}, not {len(MODULE) // 1024 * 1024 + 4:#x}"),
        (52, b"\0\0\0\0", "the entry point must lie in the user area, not at 0x0"),
        (384, b"\3", "the module's RSA public exponent must be 0x11, not 0x3"),
        (1216, b"\0", "the information table must begin with its UUID, not 003ac07fa746db182eac698f8d417f5a"),
        (1232, b"\0", "the module's chipset type must be 0x1, not 0x0"),
    ],
)
def test_a_malformed_module_is_refused(at: int, value: bytes, message: str) -> None:
    changed = MODULE[:at] + value + MODULE[at + len(value) :]
    with pytest.raises(AcmFormatError, match=f"^{re.escape(message)}$"):
        acm.parse(changed)


def test_a_module_shorter_than_its_tables_is_refused() -> None:
    message = "a module must have at least 1264 bytes of header and information table, not 100"
    with pytest.raises(AcmFormatError, match=f"^{message}$"):
        acm.parse(MODULE[:100])


def test_a_list_outside_the_user_area_is_refused() -> None:
    changed = MODULE[:1236] + (64).to_bytes(4, "little") + MODULE[1240:]
    message = "the chipset list must lie in the user area, not at 0x40 with 0 entries"
    with pytest.raises(AcmFormatError, match=f"^{message}$"):
        acm.parse(changed)


def test_a_revision_mask_needs_one_shared_bit_and_an_exact_revision_all_of_them() -> None:
    module = acm.parse(MODULE)
    assert module.runs_on(0x3_B002_8086)
    assert not module.runs_on(0x2_B002_8086)
    assert not module.runs_on(0x1_B003_8086)
    exact = replace(module, chipsets=(acm.ChipsetId(0x8086, 0xB002, 1, flags=0),))
    assert exact.runs_on(0x1_B002_8086)
    assert not exact.runs_on(0x3_B002_8086)
    assert module.runs_on_processor(0x000906E9)
    assert not module.runs_on_processor(0x000806E9)


def test_txt_acminfo_reads_the_module_completely(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "sinit.acm").write_bytes(MODULE)
    shown = tool("txt-acminfo", "sinit.acm")
    for line in (
        "type: 0x2 (ACM_TYPE_CHIPSET)",
        f"size*4: {len(MODULE):#x} ({len(MODULE)})",
        "ACM_UUID_V3",
        "chipset_acm_type: 0x1 (SINIT)",
        "os_sinit_data_ver: 0x7",
        "min_mle_hdr_ver: 0x00020001",
        "pcr_map_da: 1",
        "tcg_event_log_format: 1",
        "device_id: 0xb002",
        "fms: 0x906e9",
        "tpm_family : 0x2",
        "alg_id: 0xb",
        "RSA public key exponent: 0x00000011",
    ):
        assert line in shown

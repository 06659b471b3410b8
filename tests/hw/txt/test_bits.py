from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.hw.txt.bits import AcmClass, CpuError, Dpr, ErrorCode, cpu_error_code


def test_the_dpr_of_a_real_pc_decodes_to_six_mib_below_0x7c000000_and_locked() -> None:
    assert Dpr.decode(0x7C000061) == Dpr(0x7C000000, 6, lock=True)
    assert Dpr.decode(0x7C000061).base == 0x7BA00000


@given(st.integers(0, 0xFFF), st.integers(0, 0xFF), st.booleans())
def test_a_dpr_survives_encoding(top: int, size: int, lock: bool) -> None:
    dpr = Dpr(top << 20, size, lock)
    assert Dpr.decode(dpr.encode()) == dpr


@given(st.sampled_from(AcmClass), st.integers(0, 31), st.integers(0, 0x3FFF), st.integers(0, 1))
def test_an_error_code_of_a_module_survives_encoding(stage: AcmClass, error: int, minor: int, module: int) -> None:
    code = ErrorCode(stage, error, minor, module)
    assert ErrorCode.decode(code.encode()) == code


def test_an_error_code_of_the_processor_is_no_modules_and_is_refused() -> None:
    code = cpu_error_code(CpuError.AUTHENTICATE_FAIL)
    assert code == 0x80000007
    with pytest.raises(
        ValueError, match=r"^TXT\.ERRORCODE must have bits 31 and 30 set and bit 15 clear, not 0x80000007$"
    ):
        ErrorCode.decode(code)

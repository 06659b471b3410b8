from __future__ import annotations

import pytest

from vafw.hw.tpm.nv import LCP_OWNER_INDEX, NvStorage
from vafw.hw.tpm.rc import ResponseCode, TpmError


@pytest.fixture
def nv() -> NvStorage:
    storage = NvStorage(capacity_bytes=64)
    storage.define(LCP_OWNER_INDEX, 8)
    return storage


def test_what_was_written_is_read(nv: NvStorage) -> None:
    nv.write(LCP_OWNER_INDEX, b"01234567")
    nv.write(LCP_OWNER_INDEX, b"ab", offset=2)
    assert nv.read(LCP_OWNER_INDEX) == b"01ab4567"
    assert nv.read(LCP_OWNER_INDEX, 2, offset=2) == b"ab"


def test_an_index_nobody_defined_is_refused(nv: NvStorage) -> None:
    with pytest.raises(TpmError) as refused:
        nv.read(0x01C10103)
    assert str(refused.value) == "NV index 0x1c10103 must be defined before it is used (TPM_RC 0x18b)"


def test_defining_an_index_twice_is_refused(nv: NvStorage) -> None:
    with pytest.raises(TpmError) as refused:
        nv.define(LCP_OWNER_INDEX, 8)
    assert str(refused.value) == "NV index 0x1c10106 must not be defined twice (TPM_RC 0x14c)"


def test_reading_before_writing_is_refused(nv: NvStorage) -> None:
    with pytest.raises(TpmError) as refused:
        nv.read(LCP_OWNER_INDEX)
    assert str(refused.value) == "NV index 0x1c10106 must be written before it is read (TPM_RC 0x14a)"


def test_writing_after_the_lock_is_refused(nv: NvStorage) -> None:
    nv.write(LCP_OWNER_INDEX, b"01234567")
    nv.lock(LCP_OWNER_INDEX)
    with pytest.raises(TpmError) as refused:
        nv.write(LCP_OWNER_INDEX, b"evil")
    assert str(refused.value) == "NV index 0x1c10106 must not be written: it is locked (TPM_RC 0x148)"
    assert nv.read(LCP_OWNER_INDEX) == b"01234567"


@pytest.mark.parametrize(("data", "offset"), [(bytes(9), 0), (b"x", 8), (b"x", -1)])
def test_writing_outside_the_index_is_refused(nv: NvStorage, data: bytes, offset: int) -> None:
    with pytest.raises(TpmError) as refused:
        nv.write(LCP_OWNER_INDEX, data, offset)
    expected = f"NV index 0x1c10106 has 8 bytes, and the access is {offset}+{len(data)} (TPM_RC 0x146)"
    assert str(refused.value) == expected


@pytest.mark.parametrize("size", [0, 57])
def test_an_index_that_does_not_fit_is_refused(nv: NvStorage, size: int) -> None:
    with pytest.raises(TpmError) as refused:
        nv.define(1, size)
    assert str(refused.value) == f"an NV index must have 1 to 56 bytes, not {size} (TPM_RC 0x14b)"
    assert refused.value.rc is ResponseCode.NV_SPACE

"""VMCS fields by encoding, and what stands in memory while a VMCS is active."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import READ_ONLY, REVISION, WIDTH_BITS, Encoding, VmcsField, VmError
from vafw.hw.vmx.vmcs import Vmcs, blank_region, supported

REGION = Hpa(0x5000)
READ_ONLY_FIELDS = [each for each in VmcsField if Encoding.TYPE.get(each) == READ_ONLY]
WRITABLE_FIELDS = [each for each in VmcsField if Encoding.TYPE.get(each) != READ_ONLY]


def blank() -> tuple[PhysicalMemory, Vmcs]:
    memory = PhysicalMemory(1 << 20)
    blank_region(memory, REGION, REVISION)
    return memory, Vmcs.load(memory, REGION)


@pytest.mark.parametrize("field", WRITABLE_FIELDS)
def test_a_field_keeps_as_many_bits_as_its_width_says(field: VmcsField) -> None:
    _, vmcs = blank()
    assert vmcs.write(field, 2**64 - 1) is None
    assert vmcs.read(field) == (1 << WIDTH_BITS[Encoding.WIDTH.get(field)]) - 1


@pytest.mark.parametrize("field", READ_ONLY_FIELDS)
def test_writing_an_exit_information_field_is_refused(field: VmcsField) -> None:
    _, vmcs = blank()
    assert vmcs.write(field, 1) is VmError.READ_ONLY_COMPONENT
    assert vmcs.read(field) == 0


@pytest.mark.parametrize("encoding", [0x0002, 0x4001, 0x6803, 0x7000, 0x1_0000, 0x2FFE])
def test_an_encoding_that_is_no_field_is_refused(encoding: int) -> None:
    _, vmcs = blank()
    assert vmcs.read(encoding) is VmError.UNSUPPORTED_COMPONENT
    assert vmcs.write(encoding, 1) is VmError.UNSUPPORTED_COMPONENT


@given(value=st.integers(0, 2**64 - 1), high=st.integers(0, 2**64 - 1))
def test_an_odd_encoding_is_the_high_half_of_a_64_bit_field(value: int, high: int) -> None:
    _, vmcs = blank()
    vmcs.write(VmcsField.EPTP, value)
    assert vmcs.read(VmcsField.EPTP | 1) == value >> 32
    vmcs.write(VmcsField.EPTP | 1, high)
    assert vmcs.read(VmcsField.EPTP) == value & 0xFFFF_FFFF | (high & 0xFFFF_FFFF) << 32


@given(values=st.dictionaries(st.sampled_from(WRITABLE_FIELDS), st.integers(0, 2**64 - 1)))
def test_what_is_stored_is_what_is_loaded(values: dict[VmcsField, int]) -> None:
    memory, vmcs = blank()
    for field, value in values.items():
        vmcs.write(field, value)
    vmcs.store(memory)
    again = Vmcs.load(memory, REGION)
    assert [again.read(field) for field in VmcsField] == [vmcs.read(field) for field in VmcsField]
    assert memory.read_u32(REGION) == REVISION


def test_memory_is_stale_until_the_vmcs_is_stored() -> None:
    memory, vmcs = blank()
    vmcs.write(VmcsField.GUEST_RIP, 0x1234)
    assert Vmcs.load(memory, REGION).read(VmcsField.GUEST_RIP) == 0
    vmcs.store(memory)
    assert Vmcs.load(memory, REGION).read(VmcsField.GUEST_RIP) == 0x1234


def test_only_64_bit_fields_have_a_high_half() -> None:
    assert [each for each in VmcsField if supported(each | 1)] == [
        each for each in VmcsField if Encoding.WIDTH.get(each) == 1
    ]


def test_its_repr_names_the_fields_that_are_set() -> None:
    _, vmcs = blank()
    vmcs.write(VmcsField.VPID, 3)
    vmcs.write(VmcsField.GUEST_RIP, 0x1000)
    assert repr(vmcs) == "Vmcs(0x5000 clear: VPID=0x3 GUEST_RIP=0x1000)"

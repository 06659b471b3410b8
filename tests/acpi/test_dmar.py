from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.acpi import (
    AndDevice,
    AtsRootPorts,
    DeviceScope,
    Dmar,
    HardwareUnit,
    Proximity,
    ReservedMemory,
    ScopeType,
    TableHeader,
    Unknown,
    decode_dmar,
    encode_dmar,
)
from vafw.acpi.dmar import DmarFlags
from vafw.address import Hpa
from vafw.wire import FormatError

DISPLAY = DeviceScope(ScopeType.ENDPOINT, 0, ((2, 0),))
TABLE = Dmar(
    39,
    (
        HardwareUnit(Hpa(0xFED9_0000), (DISPLAY,)),
        HardwareUnit(Hpa(0xFED9_1000), (DeviceScope(ScopeType.IOAPIC, 0xF0, ((0x1F, 0),), 2),), include_all=True),
        ReservedMemory(Hpa(0x7D80_0000), Hpa(0x7FFF_FFFF), (DISPLAY,)),
    ),
    DmarFlags.INTERRUPT_REMAPPING | DmarFlags.DMA_CONTROL_OPT_IN,
)

bytes_ = st.integers(0, 0xFF)
steps = st.tuples(st.integers(0, 31), st.integers(0, 7))
scopes = st.lists(
    st.builds(
        DeviceScope, st.sampled_from(ScopeType), bytes_, st.lists(steps, min_size=1, max_size=4).map(tuple), bytes_
    ),
    max_size=3,
).map(tuple)
pages = st.integers(0, (1 << 40) - 1).map(lambda page: page << 12)
segments = st.integers(0, 0xFFFF)
structures = st.one_of(
    st.builds(HardwareUnit, pages.map(Hpa), scopes, st.booleans(), segments, st.integers(0, 15)),
    st.builds(
        lambda base, size, scopes, segment: ReservedMemory(Hpa(base), Hpa(base + (size << 12) - 1), scopes, segment),
        pages, st.integers(1, 1 << 20), scopes, segments,
    ),
    st.builds(AtsRootPorts, scopes, st.booleans(), segments),
    st.builds(Proximity, pages.map(Hpa), st.integers(0, 0xFFFF_FFFF)),
    st.builds(AndDevice, bytes_, st.sampled_from(["\\_SB.PCI0.I2C0", ""])),
    st.builds(Unknown, st.integers(5, 0xFFFF), st.binary(max_size=20)),
)  # fmt: skip
tables = st.builds(
    Dmar,
    st.integers(1, 256),
    st.lists(structures, max_size=5).map(tuple),
    st.integers(0, 7).map(DmarFlags),
    st.builds(TableHeader, st.just(1), oem_id=st.sampled_from(["", "BOCHS", "ACME  "])),
)


@given(tables)
def test_what_is_written_is_what_is_read(table: Dmar) -> None:
    assert decode_dmar(encode_dmar(table)) == table


@given(tables, st.data())
def test_a_changed_byte_never_passes(table: Dmar, data: st.DataObject) -> None:
    raw = bytearray(encode_dmar(table))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 0xFF))
    with pytest.raises(FormatError):
        decode_dmar(bytes(raw))


@given(tables, st.data())
def test_a_table_that_adds_up_is_read_or_refused_by_name(table: Dmar, data: st.DataObject) -> None:
    raw = bytearray(encode_dmar(table))
    raw[data.draw(st.integers(36, len(raw) - 1))] ^= data.draw(st.integers(1, 0xFF))
    raw[9] = (raw[9] - sum(raw)) & 0xFF
    assert _round_trips(bytes(raw))


def _round_trips(raw: bytes) -> bool:
    try:
        return encode_dmar(decode_dmar(raw)) == raw
    except FormatError:
        return True


def test_units_and_reserved_memory_are_found() -> None:
    assert [unit.base for unit in TABLE.units] == [0xFED9_0000, 0xFED9_1000]
    assert [region.limit for region in TABLE.reserved_memory] == [0x7FFF_FFFF]


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"FACP", "DMAR, byte 0: the signature must be 'DMAR', not 'FACP'"),
        (4, b"\x10\0\0\0", "DMAR, byte 4: the length must be 36 to 128 (the bytes there are), not 16"),
        (9, b"\0", "DMAR, byte 9: all bytes must add up to 0 modulo 256, not to 188"),
    ],
)
def test_a_wrong_header_is_refused(at: int, value: bytes, message: str) -> None:
    raw = bytearray(encode_dmar(TABLE))
    raw[at : at + len(value)] = value
    with pytest.raises(FormatError) as refusal:
        decode_dmar(bytes(raw))
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x00\x00\x03\x00", "DMAR, byte 14: a structure must have at least 4 bytes, not 3"),
        (b"\x00\x00\x20\x00", "DMAR, byte 16: structure type 0 must have 28 bytes, and 0 are left"),
        (
            b"\x00\x00\x10\x00\x02\0\0\0" + bytes(8),
            "DMAR DRHD, byte 4: flags other than INCLUDE_PCI_ALL must be zero, not 0x02",
        ),
        (
            b"\x00\x00\x10\x00\x00\0\0\0" + (0x123).to_bytes(8, "little"),
            "DMAR DRHD, byte 8: the base must be 4 KiB aligned, not 0x123",
        ),
        (
            b"\x01\x00\x18\x00\0\0\0\0" + (0x2000).to_bytes(8, "little") + (0x1FFF).to_bytes(8, "little"),
            "DMAR RMRR, byte 8: the region must be whole pages in order, not 0x2000 to 0x1fff",
        ),
        (
            b"\x02\x00\x0f\x00\x00\0\0\0" + b"\x01\x07\0\0\0\0\x00",
            "DMAR ATSR, byte 9: a device scope must have 6 bytes and 2 for each step, not 7",
        ),
        (
            b"\x02\x00\x10\x00\x00\0\0\0" + b"\x01\x08\0\0\0\0\x20\x00",
            "DMAR ATSR, byte 14: a path must have devices 0 to 31 and functions 0 to 7",
        ),
        (b"\x04\x00\x0a\x00\0\0\0\x01ab", "DMAR ANDD, byte 8: the object name must end with its only zero byte"),
    ],
)
def test_a_wrong_structure_is_refused(body: bytes, message: str) -> None:
    raw = bytearray(encode_dmar(Dmar(39, ())) + body)
    raw[4] = len(raw)
    raw[9] = (raw[9] - sum(raw)) & 0xFF
    with pytest.raises(FormatError) as refusal:
        decode_dmar(bytes(raw))
    assert str(refusal.value) == message

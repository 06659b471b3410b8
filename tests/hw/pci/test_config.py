from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.hw.pci.rig import NIC, Rig
from vafw.hw.pci.config import ConfigSpace, Identity

IDENTITY = Identity(0x8086, 0x10D3, 0x020000, multifunction=True)


def test_the_header_says_what_the_function_is() -> None:
    config = ConfigSpace(IDENTITY)
    assert config.read(0x00, 4) == 0x10D3_8086
    assert config.read(0x09, 1) | config.read(0x0A, 2) << 8 == 0x020000
    assert config.read(0x0E, 1) == 0x80


def test_the_capability_list_leads_to_msi_and_pci_express() -> None:
    config = ConfigSpace(IDENTITY)
    first = config.read(0x34, 1)
    second = config.read(first + 1, 1)
    assert (config.read(first, 1), config.read(second, 1), config.read(second + 1, 1)) == (0x05, 0x10, 0)


@given(st.integers(0, 255), st.sampled_from([1, 2, 4]), st.integers(0, 0xFFFF_FFFF))
def test_what_is_burnt_in_survives_any_write(offset: int, size: int, value: int) -> None:
    config, fresh = ConfigSpace(IDENTITY), ConfigSpace(IDENTITY)
    aligned = offset & -size
    config.write(aligned, size, value & (1 << 8 * size) - 1)
    for fixed, length in ((0x00, 4), (0x08, 4), (0x0E, 1), (0x34, 1), (0x50, 2), (0x60, 4), (0x64, 4)):
        assert config.read(fixed, length) == fresh.read(fixed, length)


def test_sizing_a_bar_reads_its_size() -> None:
    config = ConfigSpace(IDENTITY)
    config.write(0x10, 4, 0xFFFF_FFFF)
    assert -config.read(0x10, 4) & 0xFFFF_FFFF == 0x1000


def test_master_abort_is_cleared_by_writing_one() -> None:
    config = ConfigSpace(IDENTITY)
    config.note_master_abort()
    config.write(0x04, 2, 0)
    assert config.read(0x06, 2) == 0x2010
    config.write(0x04, 4, 0x2000_0000)
    assert config.read(0x06, 2) == 0x0010


def test_function_level_reset_clears_configuration_and_registers(rig: Rig) -> None:
    rig.post_buffers(4)
    rig.root_complex.config_write(NIC, 0x68, 2, 0x8000)
    assert rig.root_complex.config_read(NIC, 0x04, 2) == 0
    assert rig.root_complex.config_read(NIC, 0x10, 4) == 0
    assert rig.root_complex.config_read(NIC, 0x52, 2) == 0x80
    rig.root_complex.enable_decoding(NIC)
    assert [rig.read(offset) for offset in (0x00, 0x08, 0x0C, 0x100, 0x108, 0x110)] == [0] * 6

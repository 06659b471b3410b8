from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.pci.rig import Rig
from vafw.address import Bdf, Hpa, Iova
from vafw.hw.pci import Display, Picture
from vafw.hw.pci.display import DARK, DisplayRegister
from vafw.hw.vtd import Completion, DmaFault

DISPLAY = Bdf(0, 2, 0)


def screen(rig: Rig, base: int, width: int, height: int, stride: int) -> Display:
    display = Display(DISPLAY, rig.root_complex)
    rig.root_complex.attach(display)
    rig.root_complex.set_bus_master(DISPLAY, True)
    for register, value in zip(DisplayRegister, (1, base, base >> 32, width, height, stride), strict=True):
        rig.memory.write_u32(Hpa(rig.root_complex.bar(DISPLAY) + register), value & 0xFFFF_FFFF)
    return display


@given(width=st.integers(1, 40), height=st.integers(1, 40), extra=st.integers(0, 9), base=st.integers(0, 0x1FFF))
def test_the_picture_is_what_memory_holds(width: int, height: int, extra: int, base: int) -> None:
    rig = Rig()
    start, stride = 0x40_0000 + base * 4, (width + extra) * 4
    pixels = {(x, y): bytes((x, y, x ^ y)) for y in range(height) for x in range(width)}
    for (x, y), (red, green, blue) in pixels.items():
        rig.memory.write(Hpa(start + y * stride + x * 4), bytes((blue, green, red, 0x77)))
    picture = screen(rig, start, width, height, stride).scan_out()
    assert picture == Picture(width, height, b"".join(pixels.values()))


def test_a_blocked_page_leaves_no_picture(rig: Rig) -> None:
    end = rig.memory.size
    display = screen(rig, end - 0x1800, 64, 32, 256)
    assert display.scan_out() == DmaFault(DISPLAY, Iova(end), False, Completion.UNSUPPORTED_REQUEST)


def test_without_bus_mastering_there_is_no_picture(rig: Rig) -> None:
    display = screen(rig, 0x40_0000, 8, 8, 32)
    rig.root_complex.set_bus_master(DISPLAY, False)
    assert display.scan_out() == DmaFault(DISPLAY, Iova(0x40_0000), False, Completion.BUS_MASTER_OFF)


@pytest.mark.parametrize(
    ("width", "height", "stride"), [(0, 8, 32), (8, 0, 32), (8, 8, 31), (8, 2305, 32), (4097, 1, 16384)]
)
def test_a_mode_that_is_none_is_dark(rig: Rig, width: int, height: int, stride: int) -> None:
    assert screen(rig, 0x40_0000, width, height, stride).scan_out() == DARK


def test_reset_forgets_whose_memory_it_showed(rig: Rig) -> None:
    display = screen(rig, 0x40_0000, 8, 8, 32)
    display.reset()
    assert display.scan_out() == DARK
    assert [display.mmio_read(register, 4) for register in DisplayRegister] == [0] * 6

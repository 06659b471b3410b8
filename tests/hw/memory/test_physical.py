from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import Hpa
from vafw.hw.memory import BusError, PhysicalMemory

SIZE = 0x1_0000
WINDOW = Hpa(0x8000)


class Recorder:
    """A device that remembers writes and answers reads with the offset."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []

    def mmio_read(self, offset: int, size: int) -> int:
        return offset

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        self.writes.append((offset, size, value))


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(max_size=9000)), max_size=8))
def test_memory_is_one_flat_array_of_bytes(writes: list[tuple[int, bytes]]) -> None:
    memory, flat = PhysicalMemory(SIZE), bytearray(SIZE)
    for address, data in writes:
        fitting = data[: SIZE - address]
        memory.write(Hpa(address), fitting)
        flat[address : address + len(fitting)] = fitting
    assert memory.read(Hpa(0), SIZE) == flat
    assert [memory.read_ram_u64(each) for each in range(0, SIZE, 8)] == list(memoryview(flat).cast("Q"))


@given(st.integers(0, SIZE - 1), st.integers(0, SIZE))
def test_clearing_makes_exactly_those_bytes_zero(address: int, length: int) -> None:
    memory = PhysicalMemory(SIZE)
    memory.write(Hpa(0), b"\xff" * SIZE)
    end = min(SIZE, address + length)
    memory.clear(Hpa(address), end - address)
    assert memory.read(Hpa(0), SIZE) == b"\xff" * address + bytes(end - address) + b"\xff" * (SIZE - end)


def test_only_written_frames_take_memory() -> None:
    memory = PhysicalMemory(1 << 40)
    memory.write_u64(Hpa(0xFF_FFFF_F000), 7)
    assert (memory.resident_bytes, memory.read_u64(Hpa(0xFF_FFFF_F000)), memory.read_u32(Hpa(0))) == (4096, 7, 0)


def test_a_window_answers_instead_of_the_ram_below_it() -> None:
    memory, device = PhysicalMemory(SIZE), Recorder()
    memory.write(WINDOW, b"hidden")
    memory.map_window(WINDOW, 0x1000, device)
    memory.write_u32(Hpa(WINDOW + 8), 0x55)
    assert (memory.read_u32(Hpa(WINDOW + 4)), device.writes) == (4, [(8, 4, 0x55)])


def test_what_devices_read_is_never_a_window() -> None:
    memory = PhysicalMemory(SIZE)
    memory.map_window(WINDOW, 0x1000, Recorder())
    assert memory.read_ram(WINDOW, 4) is None
    assert memory.read_ram_u64(WINDOW) is None
    assert memory.read_ram(WINDOW - 2, 4) is None
    assert not memory.write_ram(WINDOW - 2, b"four")
    assert memory.read(Hpa(WINDOW - 2), 2) == b"\0\0"
    assert not memory.is_ram(WINDOW - 2, 4)
    assert memory.is_ram(WINDOW - 2, 2)


def test_an_access_beyond_memory_is_refused() -> None:
    message = r"^an access must stay inside the 0x10000 bytes of RAM or a device window, not 0xfffc\+0x8$"
    with pytest.raises(BusError, match=message):
        PhysicalMemory(SIZE).read(Hpa(0xFFFC), 8)


def test_an_access_that_runs_into_a_window_is_refused() -> None:
    memory = PhysicalMemory(SIZE)
    memory.map_window(WINDOW, 0x1000, Recorder())
    with pytest.raises(BusError, match=r"^an access of 0x8 bytes at 0x7ffc must not run into a device window$"):
        memory.write(Hpa(WINDOW - 4), bytes(8))


def test_a_register_access_of_odd_size_is_refused() -> None:
    memory = PhysicalMemory(SIZE)
    memory.map_window(WINDOW, 0x1000, Recorder())
    with pytest.raises(BusError, match=r"^a register must be read with 1, 2, 4 or 8 bytes, not 3 at 0x8000$"):
        memory.read(WINDOW, 3)


def test_overlapping_windows_are_refused() -> None:
    memory = PhysicalMemory(SIZE)
    memory.map_window(WINDOW, 0x2000, Recorder())
    with pytest.raises(ValueError, match=r"^window 0x9000\+0x1000 must not overlap 0x8000\+0x2000$"):
        memory.map_window(Hpa(0x9000), 0x1000, Recorder())


def test_a_window_of_part_of_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a window must cover whole 4 KiB frames, not 0x8000\+0x100$"):
        PhysicalMemory(SIZE).map_window(WINDOW, 0x100, Recorder())


def test_memory_of_part_of_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the size of memory must be a positive multiple of 4096, not 5000$"):
        PhysicalMemory(5000)


def test_a_frame_read_as_a_table_is_live_memory() -> None:
    memory = PhysicalMemory(SIZE)
    memory.write_u64(Hpa(0x1008), 7)
    assert 0x1000 not in memory.tables
    assert memory.read_ram_u64(0x1008) == 7
    memory.write(Hpa(0x1010), b"\x09")
    assert memory.tables[0x1000][:3].tolist() == [0, 7, 9]


def test_a_table_that_is_cleared_or_covered_by_a_window_is_no_table_any_more() -> None:
    memory = PhysicalMemory(SIZE)
    for frame in (0x1000, WINDOW):
        memory.write_u64(Hpa(frame), 7)
        memory.read_ram_u64(frame)
    memory.clear(Hpa(0x1000), 0x1000)
    memory.map_window(WINDOW, 0x1000, Recorder())
    assert (dict(memory.tables), memory.read_ram_u64(0x1000), memory.read_ram_u64(WINDOW)) == ({}, 0, None)


def test_an_entry_is_written_where_memory_is_and_nowhere_else() -> None:
    memory = PhysicalMemory(SIZE)
    assert (memory.write_ram_u64(0x2008, 5), memory.read_ram_u64(0x2008), memory.write_ram_u64(0x2008, 6)) == (
        True,
        5,
        True,
    )
    assert (memory.read_u64(Hpa(0x2008)), memory.write_ram_u64(SIZE, 1)) == (6, False)

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.txt.conftest import Rig
from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.txt import heap
from vafw.hw.txt.bits import PUBLIC_SPACE, Reg
from vafw.hw.txt.heap import BiosData, EventLogPointer, Heap, HeapError, MemoryDescriptor, OsSinitData, SinitMleData
from vafw.tcg.eventlog import Event, decode_log, encode_event

U64 = st.integers(0, (1 << 64) - 1)
U32 = st.integers(0, (1 << 32) - 1)
BASE = Hpa(0x1000)
SIZE = 0x1000
OS_SINIT = OsSinitData(0x1000, 9, 0, 0, 0, 0, 0, 0x227, EventLogPointer(0x2000, 200))


@given(st.builds(OsSinitData, *[U64] * 7, U32, st.builds(EventLogPointer, U64, U32, U32, U32), U64, U64, U64, U32))
def test_os_sinit_data_survive_encoding(data: OsSinitData) -> None:
    assert OsSinitData.decode(data.encode()) == data


@given(
    st.builds(
        SinitMleData,
        *(st.binary(min_size=20, max_size=20), U32, *[st.binary(min_size=20, max_size=20)] * 3, U32),
        st.lists(st.builds(MemoryDescriptor, U64, U64, st.integers(0, 4)), max_size=4).map(tuple),
        U64,
    )
)
def test_sinit_mle_data_survive_encoding(data: SinitMleData) -> None:
    assert SinitMleData.decode(data.encode()) == data


@given(st.lists(st.binary(max_size=300), min_size=4, max_size=4))
def test_four_tables_survive_memory(tables: list[bytes]) -> None:
    memory = PhysicalMemory(1 << 20)
    heap.write(memory, BASE, SIZE, Heap(*tables))
    assert heap.read(memory, BASE, SIZE) == Heap(*tables)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(HeapError, match=r"^the heap's tables must fit its 0x1000 bytes, not take 0x1020$"):
        heap.write(PhysicalMemory(1 << 20), BASE, SIZE, Heap(bytes(SIZE)))


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (7, "the heap's BIOS data must lie in its 0x1000 bytes, not at 0x0 with size 0x7"),
        (0x1001, "the heap's BIOS data must lie in its 0x1000 bytes, not at 0x0 with size 0x1001"),
        (0x1000, "the heap's OS-MLE data must lie in its 0x1000 bytes, not at 0x1000 with size 0x0"),
        ((1 << 64) - 1, f"the heap's BIOS data must lie in its 0x1000 bytes, not at 0x0 with size {(1 << 64) - 1:#x}"),
    ],
)
def test_a_table_that_runs_out_of_the_heap_is_refused(length: int, message: str) -> None:
    memory = PhysicalMemory(1 << 20)
    memory.write_u64(BASE, length)
    with pytest.raises(HeapError, match=f"^{message}$"):
        heap.read(memory, BASE, SIZE)


@given(st.binary(max_size=SIZE))
def test_arbitrary_bytes_are_refused_or_read(data: bytes) -> None:
    memory = PhysicalMemory(1 << 20)
    memory.write(BASE, data)
    with pytest.raises(HeapError):
        OsSinitData.decode(heap.read(memory, BASE, SIZE).os_sinit)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(40), "the OS-SINIT data must have at least 92 bytes, not 40"),
        (bytes(100), "the OS-SINIT data's version must be 7, not 0"),
        (
            OS_SINIT.encode()[:92] + struct.pack("<II", 0, 8),
            "the OS-SINIT data must point to an event log by an extended element of type 8",
        ),
        (
            OS_SINIT.encode()[:92] + struct.pack("<II", 8, 0),
            "the OS-SINIT data must point to an event log by an extended element of type 8",
        ),
    ],
)
def test_malformed_os_sinit_data_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(HeapError, match=f"^{message}$"):
        OsSinitData.decode(data)


def test_a_bios_version_that_nobody_knows_is_refused() -> None:
    with pytest.raises(HeapError, match=r"^the BIOS data's version must be 5 or 6, not 9$"):
        BiosData.decode(BiosData(0, 1, version=9).encode())


def test_records_are_appended_until_the_log_is_full_and_then_refused() -> None:
    memory = PhysicalMemory(1 << 20)
    heap.write(memory, BASE, SIZE, Heap(b"bios", b"loader's", OS_SINIT.encode(), b"mle"))
    heap.append_event_log(memory, BASE, SIZE, b"a" * 120)
    heap.append_event_log(memory, BASE, SIZE, b"b" * 80)
    assert heap.read_event_log(memory, BASE, SIZE) == b"a" * 120 + b"b" * 80
    with pytest.raises(HeapError, match=r"^the event log must fit its 200 bytes, not 201$"):
        heap.append_event_log(memory, BASE, SIZE, b"c")
    assert heap.read(memory, BASE, SIZE).sinit_mle == b"mle"


def test_the_vmm_can_append_to_the_log_that_sinit_wrote(rig: Rig) -> None:
    rig.launch()
    chipset = rig.platform.chipset
    place = Hpa(chipset.get(Reg.HEAP_BASE)), chipset.get(Reg.HEAP_SIZE)
    before = decode_log(heap.read_event_log(rig.platform.memory, *place))
    event = Event(19, 0xD, {0x000B: bytes(32), 0x0004: bytes(20)}, b"vafw plan office")
    heap.append_event_log(rig.platform.memory, *place, encode_event(event))
    assert decode_log(heap.read_event_log(rig.platform.memory, *place)) == (*before, event)


@pytest.mark.skipif(shutil.which("txt-stat") is None, reason="txt-stat of the package tboot is not installed")
def test_txt_stat_reads_our_registers_and_heap_from_a_memory_image(rig: Rig, tmp_path: Path) -> None:
    """txt-stat opens /dev/mem; a copy made here opens ./mm.img, which is as long, instead."""
    assert rig.launch().launched
    program = tmp_path / "txt-stat"
    program.write_bytes(Path(str(shutil.which("txt-stat"))).read_bytes().replace(b"/dev/mem", b"./mm.img"))
    program.chmod(0o700)
    chipset, memory = rig.platform.chipset, rig.platform.memory
    base, size = chipset.get(Reg.HEAP_BASE), chipset.get(Reg.HEAP_SIZE)
    with (tmp_path / "mm.img").open("wb") as image:
        image.seek(base)
        image.write(memory.read(Hpa(base), size))
        image.seek(PUBLIC_SPACE)
        image.write(b"".join(memory.read(Hpa(PUBLIC_SPACE + at), 8) for at in range(0, 0x1000, 8)))
        image.truncate(0xFED4_0000)
    done = subprocess.run([program, "--heap"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20)
    assert f"HEAP.BASE: {base:#010x}" in done.stdout
    assert "senter_done: TRUE" in done.stdout
    assert "mem_config_lock: TRUE" in done.stdout
    assert "top: 0x04000000" in done.stdout
    assert chipset.public_key.hex(" ")[:47] in done.stdout
    assert "TXT measured launch: TRUE" in done.stdout
    assert "num_logical_procs: 4" in done.stdout

from __future__ import annotations

import gzip
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.utils import PcapWriter, RawPcapNgReader

from vafw.traffic.pcap import CapturedFrame, InvalidCapture, read_capture, writing_capture

FRAMES = [
    CapturedFrame(1_700_000_000_123_456_789, bytes(60), "wire", "passed by web"),
    CapturedFrame(1_700_000_001_000_000_000, b"\xff" * 61, "user"),
    CapturedFrame(1_700_000_002_000_000_001, b"\x01" * 1514, "wire", "dropped by (default)"),
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "out.pcapng"
    with writing_capture(path) as writer:
        for frame in FRAMES:
            writer.write(frame)
    return path


def test_what_is_written_is_read_again(written: Path) -> None:
    assert list(read_capture(written)) == FRAMES


def test_a_capture_behind_gzip_is_read(written: Path, tmp_path: Path) -> None:
    packed = tmp_path / "out.pcapng.gz"
    packed.write_bytes(gzip.compress(written.read_bytes()))
    assert list(read_capture(packed)) == FRAMES


def test_scapy_reads_what_is_written(written: Path) -> None:
    with RawPcapNgReader(str(written)) as reader:
        assert [data for data, _ in reader] == [frame.data for frame in FRAMES]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_what_is_written(written: Path) -> None:
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment", "-e", "frame.len"]
    shown = subprocess.run(["tshark", "-r", str(written), *fields], check=True, capture_output=True, text=True)
    assert shown.stdout.splitlines() == [
        "wire\tpassed by web\t60", "user\t\t61", "wire\tdropped by (default)\t1514",
    ]  # fmt: skip


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize(("nano", "time_ns"), [(False, 1_500_000_000), (True, 1_500_000_007)])
def test_pcap_is_read_in_both_orders_and_resolutions(tmp_path: Path, endianness: str, nano: bool, time_ns: int) -> None:
    path = tmp_path / "in.pcap"
    with PcapWriter(str(path), linktype=1, endianness=endianness, nano=nano) as writer:
        writer.write_header(None)
        writer.write_packet(b"x" * 60, sec=1, usec=500_000_007 if nano else 500_000)
    assert list(read_capture(path)) == [CapturedFrame(time_ns, b"x" * 60)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_capture_raises_nothing_but_invalid_capture(
    written: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(written.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "broken"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    with suppress(InvalidCapture):
        list(read_capture(path))


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with pytest.raises(InvalidCapture) as refused:
        list(read_capture(path))
    assert refused.value.message == (
        f"{path}: byte 0: a capture must begin with the magic number of pcap or pcapng, not 68656c6c"
    )


def test_a_capture_that_ends_inside_a_block_is_refused(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(written.read_bytes()[:-10])
    with pytest.raises(InvalidCapture, match=r"byte \d+: the file ends inside the block: 1564 bytes were expected$"):
        list(read_capture(path))

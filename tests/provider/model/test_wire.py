"""The two ends of the modelled machine's network: captures in, results out."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafw.errors import PlatformUnable
from vafw.provider.model.wire import CaptureReplay, Injection, ResultsWriter, Side
from vafw.traffic.pcap import CapturedFrame, InvalidCapture, read_capture, writing_capture

USER_MAC = "52:54:00:aa:00:01"
OF_USER = bytes.fromhex("525400bb0001525400aa0001") + b"\x08\0 from the user"
OF_WIRE = bytes.fromhex("525400aa0001525400bb0001") + b"\x08\0 from the wire"
LARGE = Path(__file__).parents[2] / "captures/office-10k.pcap.gz"


@pytest.fixture
def tshark() -> str:
    """The reader that people will use."""
    found = shutil.which("tshark")
    if found is None:
        pytest.skip("tshark is not installed")
    return found


def capture(path: Path, *frames: tuple[int, bytes]) -> Path:
    with writing_capture(path) as writer:
        for time_ns, data in frames:
            writer.write(CapturedFrame(time_ns, data))
    return path


def test_frames_are_told_apart_by_their_source_and_keep_their_order_and_times(tmp_path: Path) -> None:
    path = capture(tmp_path / "two.pcapng", (7_000_000_000, OF_USER), (7_250_000_000, OF_WIRE))
    assert list(CaptureReplay(path, USER_MAC)) == [
        Injection(Side.USER, 0.0, OF_USER),
        Injection(Side.WIRE, 0.25, OF_WIRE),
    ]


def test_a_replay_can_be_run_twice(tmp_path: Path) -> None:
    replay = CaptureReplay(capture(tmp_path / "one.pcapng", (0, OF_USER)), USER_MAC)
    assert list(replay) == list(replay)


def test_time_never_goes_back(tmp_path: Path) -> None:
    path = capture(
        tmp_path / "back.pcapng", (2_000_000_000, OF_USER), (1_000_000_000, OF_WIRE), (3_000_000_000, OF_WIRE)
    )
    assert [each.time_s for each in CaptureReplay(path, USER_MAC)] == [0.0, 0.0, 1.0]


def test_a_frame_too_short_for_a_source_comes_from_the_wire(tmp_path: Path) -> None:
    path = capture(tmp_path / "short.pcapng", (0, b"short"), (1, OF_USER))
    assert [each.side for each in CaptureReplay(path, USER_MAC)] == [Side.WIRE, Side.USER]


@pytest.mark.parametrize("mac", ["52:54:00:aa:00:01", "52:54:00:AA:00:01"])
def test_the_shipped_capture_has_frames_of_both_sides(office_capture: Path, mac: str) -> None:
    sides = [each.side for each in CaptureReplay(office_capture, mac)]
    assert min(sides.count(Side.USER), sides.count(Side.WIRE)) > 200


def test_a_packed_capture_of_ten_thousand_frames_is_replayed_in_order() -> None:
    replayed = list(CaptureReplay(LARGE, USER_MAC))
    assert len(replayed) > 10_000
    assert [each.frame for each in replayed] == [each.data for each in read_capture(LARGE)]
    assert all(before.time_s <= after.time_s for before, after in itertools.pairwise(replayed))


def test_a_capture_without_frames_of_the_user_is_refused(tmp_path: Path) -> None:
    path = capture(tmp_path / "other.pcapng", (0, OF_WIRE))
    with pytest.raises(InvalidCapture) as caught:
        CaptureReplay(path, USER_MAC)
    assert caught.value.message == f"{path}: no frame comes from 52:54:00:aa:00:01, the MAC address of the user"


def test_a_capture_without_frames_is_refused(tmp_path: Path) -> None:
    path = capture(tmp_path / "empty.pcapng")
    with pytest.raises(InvalidCapture) as caught:
        CaptureReplay(path, USER_MAC)
    assert caught.value.message == f"{path}: a capture to replay must hold frames, and this one holds none"


def test_a_capture_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.pcap"
    with pytest.raises(InvalidCapture) as caught:
        CaptureReplay(path, USER_MAC)
    assert caught.value.message == f"{path}: the capture cannot be read: No such file or directory"


def test_results_in_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "none" / "out.pcapng"
    with pytest.raises(PlatformUnable) as caught:
        ResultsWriter(path)
    assert caught.value.message == f"{path}: the results cannot be written: No such file or directory"


def test_results_say_what_became_of_each_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    with ResultsWriter(path, start_ns=5_000_000_000) as results:
        results.left(Side.WIRE, OF_USER, 0.0)
        results.left(Side.USER, OF_WIRE, 0.5)
        results.dropped(OF_WIRE, 1.5, "firewall", "no-lan")
    assert list(read_capture(path)) == [
        CapturedFrame(5_000_000_000, OF_USER, "wire"),
        CapturedFrame(5_500_000_000, OF_WIRE, "user"),
        CapturedFrame(6_500_000_000, OF_WIRE, "dropped", "firewall: no-lan"),
    ]


def test_results_are_read_by_tshark(tmp_path: Path, tshark: str) -> None:
    path = tmp_path / "out.pcapng"
    with ResultsWriter(path) as results:
        results.left(Side.WIRE, OF_USER, 0.0)
        results.dropped(OF_WIRE, 1.5, "dns", "ads.example.net")
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.time_relative", "-e", "frame.comment"]
    read = subprocess.run([tshark, "-r", str(path), *fields], capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in read.stdout.splitlines()]
    assert [(name, float(time), comment) for name, time, comment in lines] == [
        ("wire", 0.0, ""),
        ("dropped", 1.5, "dns: ads.example.net"),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**12), st.binary(min_size=1, max_size=40)), max_size=8))
def test_every_frame_is_replayed_unchanged(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, bytes]]
) -> None:
    path = capture(tmp_path_factory.mktemp("replay") / "any.pcapng", (0, OF_USER), *frames)
    assert [each.frame for each in CaptureReplay(path, USER_MAC)] == [OF_USER, *(data for _, data in frames)]

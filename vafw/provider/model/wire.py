"""What is at both ends of the modelled machine's network when a capture is replayed: its frames in, the results out.

A capture taken at the user's interface holds both directions. `CaptureReplay` tells them apart by the source MAC
address and gives them in order, each with the side it enters at; whoever runs the machine lets it go idle before it
takes the next, with the machine's time set to the frame's. So a replay depends on no clock and comes out the same each
time.

Not here: the taps of live traffic (`tap.py`), the small internet of scripts (`peer.py`), and the machine in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

from vafw.errors import PlatformUnable
from vafw.traffic.pcap import CapturedFrame, CaptureWriter, InvalidCapture, read_capture

DROPPED: Final = "dropped"
"""The interface of the results that holds what reached neither side."""


class Side(StrEnum):
    """The two ends, by the names that their interfaces have in the results."""

    WIRE = "wire"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Injection:
    """One frame to put into the machine."""

    side: Side
    """Where it enters."""
    time_s: float
    """When: seconds since the first frame of the capture; never less than the frame before."""
    frame: bytes


@final
class CaptureReplay:
    """The frames of one capture, in order; read while they are asked for, as often as they are asked for."""

    def __init__(self, path: Path, user_mac: str) -> None:
        """Open `path` and look for a first frame of `user_mac` (``aa:bb:cc:dd:ee:ff``); InvalidCapture without one."""
        self.path = path
        self._user_mac = bytes.fromhex(user_mac.replace(":", ""))
        first = next(self._frames(), None)
        if first is None:
            raise InvalidCapture(f"{path}: a capture to replay must hold frames, and this one holds none")
        self.start_ns = first.time_ns
        """Time of the first frame, in nanoseconds since 1970."""
        if not any(self._side(each.data) is Side.USER for each in self._frames()):
            raise InvalidCapture(
                f"{path}: no frame comes from {user_mac}, the MAC address of the user",
                hint="capture on the user's interface, or set the mac of the network function in the machine document",
            )

    def __iter__(self) -> Iterator[Injection]:
        time_ns = self.start_ns
        for each in self._frames():
            time_ns = max(time_ns, each.time_ns)
            yield Injection(self._side(each.data), (time_ns - self.start_ns) / 1e9, each.data)

    def _frames(self) -> Iterator[CapturedFrame]:
        try:
            yield from read_capture(self.path)
        except OSError as error:
            raise InvalidCapture(f"{self.path}: the capture cannot be read: {error.strerror}") from error

    def _side(self, frame: bytes) -> Side:
        return Side.USER if frame[6:12] == self._user_mac else Side.WIRE


@final
class ResultsWriter:
    """What became of the frames, as one pcapng file with an interface for each fate.

    ``wire`` holds what left the machine towards the wire, ``user`` what reached the user OS, ``dropped`` what reached
    neither, with a comment that names who dropped it and by which rule. A further uplink has its function's name.
    """

    def __init__(self, path: Path, start_ns: int = 0) -> None:
        """Begin the file at `path`, or raise PlatformUnable; frames are stamped with `start_ns` plus their time."""
        self._start_ns = start_ns
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise PlatformUnable(f"{path}: the results cannot be written: {error.strerror}") from error
        self._writer = CaptureWriter(self._file)

    def left(self, interface: str, frame: bytes, time_s: float) -> None:
        """A frame came out: at ``user``, at ``wire``, or at another uplink, which has its function's name."""
        self._write(frame, time_s, interface, "")

    def dropped(self, frame: bytes, time_s: float, appliance: str, rule: str) -> None:
        """An appliance let a frame end."""
        self._write(frame, time_s, DROPPED, f"{appliance}: {rule}")

    def close(self) -> None:
        """End the file; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, frame: bytes, time_s: float, interface: str, comment: str) -> None:
        time_ns = self._start_ns + round(time_s * 1e9)
        self._writer.write(CapturedFrame(time_ns, frame, interface, comment))

"""A tap interface of the host: where the modelled machine's network meets real ones.

Opening makes the interface, or takes one that an administrator made for this user (``ip tuntap add``). It is left as it
is found: a new one is down and has no address until somebody gives it one, often after moving it to a network
namespace, which the open end survives. While it is down, frames for it are counted as lost and nothing comes from it.

The interface lives as long as the `Tap` is open, unless it was made to last.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

from vafw.errors import PlatformUnable

DEVICE: Final = Path("/dev/net/tun")
TUNSETIFF: Final = 0x4004_54CA
"""Linux, "Universal TUN/TAP device driver": the ioctl that names the interface; argument `struct ifreq`."""
IFF_TAP: Final = 0x0002
"""Ethernet frames, not IP packets."""
IFF_NO_PI: Final = 0x1000
"""No packet information before each frame."""
NAME_LIMIT: Final = 15
"""Linux's IFNAMSIZ, less the terminating zero."""
FRAME_LIMIT: Final = 65_536
"""Bytes read at once: more than any interface's MTU."""

NEEDS_ROOT: Final = "run as root, or have root make it for you: ip tuntap add NAME mode tap user YOU"


@final
class Tap:
    """The open end of one tap interface."""

    def __init__(self, name: str, *, device: Path = DEVICE) -> None:
        """Open the interface `name`; PlatformUnable says what stands in the way."""
        if not 0 < len(name.encode()) <= NAME_LIMIT or any(each.isspace() or each in "/:" for each in name):
            raise PlatformUnable(
                f"a tap interface's name must be 1 to {NAME_LIMIT} bytes without spaces, '/' and ':', not {name!r}"
            )
        self.name = name
        self.lost = 0
        """Frames the host would not take: the interface is down, or its queue is full."""
        self._file = _open(device)
        try:
            fcntl.ioctl(self._file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        except OSError as error:
            os.close(self._file)
            raise _refusal(name, device, error) from error

    async def receive(self) -> bytes:
        """The next frame that the host sends into the interface; waits for one."""
        while (frame := self.receive_now()) is None:
            await self._readable()
        return frame

    def receive_now(self) -> bytes | None:
        """The next frame, or None where none waits."""
        try:
            return os.read(self._file, FRAME_LIMIT)
        except BlockingIOError:
            return None

    def send(self, frame: bytes) -> bool:
        """Hand one frame to the host; False, counted in `lost`, where it is not taken."""
        try:
            os.write(self._file, frame)
        except OSError as error:
            if error.errno not in _NOT_TAKEN:
                raise
            self.lost += 1
            return False
        return True

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._file, _wake, readable)
        try:
            await readable
        finally:
            loop.remove_reader(self._file)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


_NOT_TAKEN: Final = frozenset((errno.EAGAIN, errno.EIO, errno.ENOBUFS, errno.EINVAL))
"""What writing says of an interface that is down (EIO), a full queue, and a frame shorter than an Ethernet header."""


def _open(device: Path) -> int:
    try:
        return os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise PlatformUnable(
            f"a tap needs {device}, which this host does not have",
            hint="load the kernel module: modprobe tun (in a container, have the host pass the device in)",
        ) from error
    except OSError as error:
        raise PlatformUnable(
            f"a tap needs {device}, which cannot be opened: {error.strerror}", hint=NEEDS_ROOT
        ) from error


def _refusal(name: str, device: Path, error: OSError) -> PlatformUnable:
    match error.errno:
        case errno.EPERM:
            return PlatformUnable(f"making the tap {name} needs root (CAP_NET_ADMIN)", hint=NEEDS_ROOT)
        case errno.EBUSY:
            return PlatformUnable(f"the tap {name} is already open in another program", hint="choose another name")
        case errno.EINVAL:
            return PlatformUnable(
                f"{name} must be a tap, but an interface of another kind has that name", hint="choose another name"
            )
        case _:
            return PlatformUnable(f"{device} does not make taps: {error.strerror}")

"""QEMU's intel-iommu as an oracle: a PC without software whose memory, registers and one DMA device a test drives.

QEMU's qtest protocol reads and writes memory, registers and I/O ports from outside; the device `edu` moves bytes by
DMA. No guest runs: the firmware is a page of HLT. A DMA takes about 2 ms.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from vafw.address import Bdf

EDU = Bdf(0, 4, 0)
UNIT = 0xFED9_0000
RAM_BYTES = 64 << 20
AVAILABLE = shutil.which("qemu-system-x86_64") is not None
_BAR = 0xE000_0000
_SOURCE, _DESTINATION, _COUNT, _COMMAND = _BAR + 0x80, _BAR + 0x88, _BAR + 0x90, _BAR + 0x98
_RAISE, _ACKNOWLEDGE = _BAR + 0x60, _BAR + 0x64
_BUFFER = 0x4_0000
_RUN, _TO_RAM = 1, 2
TRACE = "trace"
"""File of the PC's folder with a line for each interrupt that was remapped."""
_HALT = b"\xf4"
_RESET_VECTOR = b"\xfa\xf4\xeb\xfd"


class QemuPc:
    """The PC; every access is complete when the call returns."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rw", encoding="ascii")
        self._configure(0x10, _BAR)
        self._configure(0x04, 6)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        self._connection.close()

    def read(self, address: int, size: int = 8) -> int:
        """A register or a word of memory; `size` is 4 or 8 bytes."""
        return self._ask(f"read{'lq'[size == 8]} {address:#x}")

    def write(self, address: int, value: int, size: int = 8) -> None:
        """A register or a word of memory."""
        self._ask(f"write{'lq'[size == 8]} {address:#x} {value:#x}")

    def clear(self, address: int, length: int) -> None:
        """Zeroes."""
        self._ask(f"memset {address:#x} {length:#x} 0x0")

    def dma(self, address: int, *, write: bool) -> None:
        """Move 8 bytes between the device's buffer and a device address."""
        self.write(_SOURCE, _BUFFER if write else address)
        self.write(_DESTINATION, address if write else _BUFFER)
        self.write(_COUNT, 8)
        self.write(_COMMAND, _RUN | _TO_RAM if write else _RUN)
        while self.read(_COMMAND) & _RUN:
            pass

    def program_message(self, address: int, data: int) -> None:
        """The device's MSI, turned on."""
        for offset, value in ((0x44, address & 0xFFFF_FFFF), (0x48, address >> 32), (0x4C, data), (0x40, 1 << 16)):
            self._configure(offset, value)

    def interrupt(self) -> None:
        """The device sends its MSI."""
        self.write(_RAISE, 1, 4)
        self.write(_ACKNOWLEDGE, 1, 4)

    def _configure(self, offset: int, value: int) -> None:
        self._ask(f"outl 0xcf8 {0x8000_0000 | EDU.requester_id << 8 | offset:#x}")
        self._ask(f"outl 0xcfc {value:#x}")

    def _ask(self, line: str) -> int:
        self._stream.write(line + "\n")
        self._stream.flush()
        while True:
            answer = self._stream.readline().split()
            if answer[:1] == ["OK"]:
                return int(answer[1], 16) if len(answer) > 1 else 0
            if answer[:1] != ["IRQ"]:
                raise ConnectionError(f"QEMU must answer {line!r} with OK, not {' '.join(answer)!r}")


@contextmanager
def qemu_pc(folder: Path, *unit_options: str) -> Iterator[QemuPc]:
    """A PC whose remapping unit is off, as after power-on."""
    firmware = folder / "halt.bin"
    firmware.write_bytes(_HALT * (0x1_0000 - 16) + _RESET_VECTOR + _HALT * 12)
    path = folder / "qtest"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(30)
        unit = ",".join(("intel-iommu", "intremap=on", "caching-mode=on", "aw-bits=48", *unit_options))
        command = [
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-icount", "shift=0,sleep=off"),
            *("-m", str(RAM_BYTES >> 20), "-nodefaults", "-display", "none", "-bios", str(firmware)),
            *("-qtest", f"unix:{path}", "-qtest-log", "none", "-device", unit),
            *("-trace", "vtd_ir_remap_msi", "-D", str(folder / TRACE)),
            *("-device", f"edu,addr={EDU.device:x}.{EDU.function},dma_mask={(1 << 64) - 1:#x}"),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            connection, _ = listener.accept()
            connection.settimeout(30)
            with QemuPc(connection) as pc:
                yield pc
        finally:
            process.kill()
            process.wait()

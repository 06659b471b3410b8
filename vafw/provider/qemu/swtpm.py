"""A TPM that nobody here wrote: swtpm, as a child of this process, spoken to over two socket pairs.

    control    what a platform does to a TPM: power, locality, the hash sequence of a dynamic launch (swtpm_ioctls(3))
    commands   TPM 2.0 commands, by tpm2-pytss

A chipset lets only the processor's microcode speak at locality 4; here nothing but this process has the other end of
the control channel, and it is the root of trust (`launch.py`). No path in the file system leads to either socket.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Final, final

from vafw.attest.tss import ESYS_TR, PyTCTI, TSS2_Exception, TssTpm, digest_values
from vafw.errors import PlatformUnable
from vafw.provider.qemu.child import bound_to_this_process, ended
from vafw.tcg.selection import PcrSelection

SWTPM: Final = "swtpm"
TIMEOUT_S: Final = 20.0
_HEAD_BYTES: Final = 10
_CLEAR: Final = 0
"""TPM_SU_CLEAR."""
_LONGEST_CLOCK_INTERVAL: Final = 22
"""2^22 ms: the longest time between two moments at which a TPM keeps its clock (TPM_PT_CLOCK_UPDATE)."""
_DATA_BYTES: Final = 4096
"""Data of the hash sequence that goes in one piece."""


class _Control(IntEnum):
    """Commands of the control channel (swtpm_ioctls(3))."""

    INIT = 2
    SHUTDOWN = 3
    SET_LOCALITY = 5
    HASH_START = 6
    HASH_DATA = 7
    HASH_END = 8


@final
class _Connection(PyTCTI):  # type: ignore[misc]  # tpm2-pytss carries no types
    """How tpm2-pytss reaches the TPM: a transmission interface over a socket."""

    def __init__(self, commands: socket.socket) -> None:
        super().__init__()
        self._commands = commands

    def do_transmit(self, command: bytes) -> None:
        """Send one command."""
        self._commands.sendall(command)

    def do_receive(self, timeout: int) -> bytes:
        """Receive one response, whole."""
        head = _receive(self._commands, _HEAD_BYTES)
        return head + _receive(self._commands, int.from_bytes(head[2:6], "big") - _HEAD_BYTES)


@final
class Swtpm:
    """One running TPM."""

    def __init__(self, state: Path) -> None:
        """Start it, with its state in a folder, powered and started; PlatformUnable where that fails."""
        if shutil.which(SWTPM) is None:
            raise PlatformUnable(
                f"a launch needs a TPM, and {SWTPM} is not there", hint="Debian's package swtpm has it"
            )
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._commands, its_commands = socket.socketpair()
        self._control, its_control = socket.socketpair()
        self._process = _spawn(state, its_commands, its_control)
        for each in (self._commands, self._control):
            each.settimeout(TIMEOUT_S)
        self.attester: Final = TssTpm(_Connection(self._commands))
        self._esapi = self.attester.esapi
        try:
            self._platform(_Control.INIT, bytes(4))
            self._esapi.startup(_CLEAR)
            self._make_clock_safe()
        except (OSError, TSS2_Exception) as error:
            self.close()
            raise PlatformUnable(f"the TPM must start, and does not: {error}") from error

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def reset(self) -> None:
        """A TPM reset, as a reboot brings it: registers begin anew, keys are to be made again, the count goes up."""
        self._esapi.shutdown(_CLEAR)
        self._platform(_Control.INIT, bytes(4))
        self._esapi.startup(_CLEAR)
        self.attester.forget_keys()

    async def lost(self) -> str:
        """Return when the process has ended without being asked to, with how."""
        await ended(self._process.pid)
        code = self._process.poll() or 0
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"the TPM is lost: {SWTPM} ended ({how})"

    def hash_sequence(self, data: bytes) -> None:
        """_TPM_Hash_Start, Data and End at locality 4: PCR 17 to 22 begin anew, PCR 17 holds what `data` hashes to."""
        self._platform(_Control.HASH_START)
        for start in range(0, len(data), _DATA_BYTES):
            piece = data[start : start + _DATA_BYTES]
            self._platform(_Control.HASH_DATA, len(piece).to_bytes(4, "big") + piece)
        self._platform(_Control.HASH_END)

    def extend(self, pcr: int, digests: Mapping[int, bytes], locality: int) -> None:
        """TPM2_PCR_Extend at a locality; PlatformUnable where the TPM refuses."""
        self._platform(_Control.SET_LOCALITY, bytes((locality,)))
        try:
            self._esapi.pcr_extend(ESYS_TR(pcr), digest_values(digests))
        except TSS2_Exception as error:
            raise PlatformUnable(f"the TPM refuses to extend PCR {pcr} at locality {locality}: {error}") from error
        finally:
            self._platform(_Control.SET_LOCALITY, bytes(1))

    def read(self, selection: PcrSelection) -> Mapping[int, Mapping[int, bytes]]:
        """The values of PCRs, by bank and index."""
        return self.attester.read(selection)

    def close(self) -> None:
        """Shut it down in an orderly way, so that its clock stays safe; safe to call twice."""
        if self._process.poll() is None:
            with suppress(OSError, TSS2_Exception, PlatformUnable):
                self._esapi.shutdown(_CLEAR)
                self._platform(_Control.SHUTDOWN)
        self._process.kill()
        self._process.wait()
        self.attester.close()
        for each in (self._commands, self._control):
            each.close()

    def _make_clock_safe(self) -> None:
        """After a power cut, move the clock past every moment that the TPM may have signed before it.

        TPM 2.0 Library, Part 1, "Clock": what is signed is at most one update interval ahead of what is kept. Its owner
        may move the clock forward, never back; this process owns the TPM.
        """
        clock = self._esapi.read_clock().clockInfo
        if not clock.safe:
            interval = 1 << _LONGEST_CLOCK_INTERVAL
            self._esapi.clock_set((int(clock.clock) // interval + 1) * interval, ESYS_TR.OWNER)

    def _platform(self, command: _Control, argument: bytes = b"") -> None:
        try:
            self._control.sendall(command.to_bytes(4, "big") + argument)
            result = int.from_bytes(_receive(self._control, 4), "big")
        except OSError as error:
            raise PlatformUnable(f"the TPM must answer {command.name}, and is gone: {error}") from error
        if result:
            raise PlatformUnable(f"the TPM refuses {command.name}: result {result:#x}")


def _spawn(state: Path, commands: socket.socket, control: socket.socket) -> subprocess.Popen[bytes]:
    arguments = bound_to_this_process(
        *(SWTPM, "socket", "--tpm2", "--tpmstate", f"dir={state},mode=0600", "--fd", str(commands.fileno())),
        *("--ctrl", f"type=unixio,clientfd={control.fileno()}", "--flags", "not-need-init"),
    )
    ends = (commands.fileno(), control.fileno())
    try:
        return subprocess.Popen(
            arguments,
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        commands.close()
        control.close()


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        chunk = connection.recv(length - len(received))
        if not chunk:
            raise ConnectionError("it closed the connection")
        received += chunk
    return received

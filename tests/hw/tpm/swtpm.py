"""A running swtpm, spoken to in raw commands: the TPM that nobody here wrote, to hold the modelled one against."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

import pytest

from vafw.tcg.public import ENDORSEMENT_HIERARCHY, attestation_key_area
from vafw.tcg.selection import PcrSelection
from vafw.wire import Reader

needs_swtpm: Final = pytest.mark.skipif(
    shutil.which("swtpm") is None, reason="swtpm is not installed (Debian package swtpm)"
)

_INIT, _ESTABLISHED, _LOCALITY, _HASH_START, _HASH_DATA, _HASH_END = 2, 4, 5, 6, 7, 8
_RESET_ESTABLISHED = 11
_RETRY = 0x922
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_PASSWORD: Final = bytes.fromhex("00000009 40000009 0000 00 0000")


@final
class Swtpm:
    """Two sockets: commands on one, what the platform does to a TPM on the other."""

    def __init__(self, commands: socket.socket, control: socket.socket) -> None:
        self._commands = commands
        self._control = control

    def power_cycle(self) -> None:
        """_TPM_Init."""
        self._platform(_INIT, bytes(4))

    def startup(self, kind: int = 0) -> int:
        """TPM2_Startup at locality 0; 0 CLEAR, 1 STATE."""
        self._platform(_LOCALITY, bytes(1))
        return self.command(_NO_SESSIONS, 0x144, kind.to_bytes(2, "big"))[0]

    def shutdown(self, kind: int = 0) -> int:
        """TPM2_Shutdown."""
        return self.command(_NO_SESSIONS, 0x145, kind.to_bytes(2, "big"))[0]

    def hash_sequence(self, data: bytes) -> None:
        """_TPM_Hash_Start, Data, End."""
        self._platform(_HASH_START)
        self._platform(_HASH_DATA, len(data).to_bytes(4, "big") + data)
        self._platform(_HASH_END)

    def established(self) -> bool:
        """TpmEstablished."""
        return bool(self._platform(_ESTABLISHED, reply_bytes=4)[0])

    def clear_established(self, locality: int) -> int:
        """The control channel's result."""
        self._control.sendall(_RESET_ESTABLISHED.to_bytes(4, "big") + bytes((locality,)))
        return int.from_bytes(_receive(self._control, 4), "big")

    def extend(self, pcr: int, digests: Mapping[int, bytes], locality: int) -> int:
        """TPM2_PCR_Extend; the response code."""
        self._platform(_LOCALITY, bytes((locality,)))
        values = b"".join(algorithm.to_bytes(2, "big") + value for algorithm, value in digests.items())
        body = pcr.to_bytes(4, "big") + _PASSWORD + len(digests).to_bytes(4, "big") + values
        return self.command(_SESSIONS, 0x182, body)[0]

    def reset(self, pcr: int, locality: int) -> int:
        """TPM2_PCR_Reset; the response code."""
        self._platform(_LOCALITY, bytes((locality,)))
        return self.command(_SESSIONS, 0x13D, pcr.to_bytes(4, "big") + _PASSWORD)[0]

    def read(self, pcr: int, algorithm: int) -> bytes:
        """TPM2_PCR_Read of one register."""
        code, reply = self.command(_NO_SESSIONS, 0x17E, PcrSelection.of({algorithm: (pcr,)}).encode())
        assert code == 0
        return reply[4 + 10 + 4 + 2 :]  # update counter, selection, number of digests, size of the digest

    def clock(self) -> tuple[int, int]:
        """Reset count and restart count of TPM2_ReadClock."""
        code, reply = self.command(_NO_SESSIONS, 0x181, b"")
        assert code == 0
        return int.from_bytes(reply[16:20], "big"), int.from_bytes(reply[20:24], "big")

    def create_attestation_key(self) -> tuple[int, bytes, bytes]:
        """TPM2_CreatePrimary under the endorsement hierarchy: handle, public area, name."""
        template = attestation_key_area(0, 0)
        body = ENDORSEMENT_HIERARCHY.to_bytes(4, "big") + _PASSWORD + bytes((0, 4, 0, 0, 0, 0)) + _sized(template)
        code, reply = self.command(_SESSIONS, 0x131, body + bytes(2) + bytes(4))
        assert code == 0
        reader = Reader(reply, "TPM2_CreatePrimary", "big")
        handle = reader.u32("handle")
        reader.u32("size of the parameters")
        public = reader.sized("public area", at_most=1024)
        reader.sized("creation data", at_most=1024)
        reader.sized("creation hash", at_most=64)
        reader.take(6, "creation ticket")
        reader.sized("creation ticket", at_most=64)
        return handle, public, reader.sized("name", at_most=66)

    def quote(self, key: int, nonce: bytes, selection: PcrSelection) -> tuple[bytes, bytes]:
        """TPM2_Quote: TPMS_ATTEST and TPMT_SIGNATURE."""
        body = key.to_bytes(4, "big") + _PASSWORD + _sized(nonce) + b"\x00\x10" + selection.encode()
        code, reply = self.command(_SESSIONS, 0x158, body)
        assert code == 0
        size = int.from_bytes(reply[:4], "big")
        reader = Reader(reply[: 4 + size], "TPM2_Quote", "big", offset=4)
        return reader.sized("quote", at_most=1024), reader.take(reader.remaining, "signature")

    def update_counter(self) -> int:
        """pcrUpdateCounter of TPM2_PCR_Read."""
        return int.from_bytes(self.command(_NO_SESSIONS, 0x17E, PcrSelection.of({0x0B: (0,)}).encode())[1][:4], "big")

    def at_locality(self, locality: int) -> None:
        """Let commands come at this locality from now on."""
        self._platform(_LOCALITY, bytes((locality,)))

    def command(self, tag: int, code: int, body: bytes) -> tuple[int, bytes]:
        """Any command: response code, and what follows it."""
        size = (10 + len(body)).to_bytes(4, "big")
        return self._send(tag.to_bytes(2, "big") + size + code.to_bytes(4, "big") + body)

    def _send(self, command: bytes) -> tuple[int, bytes]:
        self._commands.sendall(command)
        head = _receive(self._commands, 10)
        reply = _receive(self._commands, int.from_bytes(head[2:6], "big") - 10)
        code = int.from_bytes(head[6:10], "big")
        return self._send(command) if code == _RETRY else (code, reply)

    def _platform(self, code: int, argument: bytes = b"", reply_bytes: int = 0) -> bytes:
        self._control.sendall(code.to_bytes(4, "big") + argument)
        assert int.from_bytes(_receive(self._control, 4), "big") == 0
        return _receive(self._control, reply_bytes)


@contextmanager
def running(state: Path) -> Iterator[Swtpm]:
    """A new swtpm with its state in a directory, powered and not started."""
    commands, its_commands = socket.socketpair()
    control, its_control = socket.socketpair()
    ours, theirs = (commands, control), (its_commands, its_control)
    arguments = [
        "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
        "--fd", str(its_commands.fileno()),
        "--ctrl", f"type=unixio,clientfd={its_control.fileno()}",
        "--flags", "not-need-init",
    ]  # fmt: skip
    process = subprocess.Popen(arguments, pass_fds=[each.fileno() for each in theirs])
    try:
        for each in theirs:
            each.close()
        for each in ours:
            each.settimeout(20)
        yield Swtpm(*ours)
    finally:
        process.kill()
        process.wait()
        for each in ours:
            each.close()


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        chunk = connection.recv(length - len(received))
        assert chunk, "swtpm closed the connection"
        received += chunk
    return received

"""A TPM that nobody here wrote: swtpm, as a child of this process, spoken to over two socket pairs.

    control    what a platform does to a TPM: power, locality, the hash sequence of a dynamic launch (swtpm_ioctls(3))
    commands   TPM 2.0 commands, by tpm2-pytss

A chipset lets only the processor's microcode speak at locality 4; here nothing but this process has the other end of
the control channel, and it is the root of trust (`launch.py`). No path in the file system leads to either socket.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers

from vafw.errors import PlatformUnable
from vafw.provider.qemu.child import bound_to_this_process
from vafw.tcg.public import attestation_key_area
from vafw.tcg.selection import PcrSelection

try:
    from tpm2_pytss import ESAPI, ESYS_TR, PyTCTI, TSS2_Exception
    from tpm2_pytss.types import (
        TPM2B_DATA,
        TPM2B_PUBLIC,
        TPM2B_SENSITIVE_CREATE,
        TPML_DIGEST_VALUES,
        TPML_PCR_SELECTION,
        TPMT_HA,
        TPMT_PUBLIC,
        TPMU_HA,
    )
except ImportError as missing:
    raise PlatformUnable(
        "the QEMU platform must be able to speak to a TPM, and tpm2-pytss is not installed",
        hint="`make qemu` builds it; it needs Debian's libtss2-dev, pkg-config and gcc, and as root installs them",
    ) from missing

os.environ.setdefault("TSS2_LOG", "all+none")  # the library would print what is raised here anyway

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
        self._tcti = _Connection(self._commands)
        self._esapi = ESAPI(self._tcti)
        self._key: ESYS_TR | None = None
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

    def hash_sequence(self, data: bytes) -> None:
        """_TPM_Hash_Start, Data and End at locality 4: PCR 17 to 22 begin anew, PCR 17 holds what `data` hashes to."""
        self._platform(_Control.HASH_START)
        for start in range(0, len(data), _DATA_BYTES):
            piece = data[start : start + _DATA_BYTES]
            self._platform(_Control.HASH_DATA, len(piece).to_bytes(4, "big") + piece)
        self._platform(_Control.HASH_END)

    def extend(self, pcr: int, digests: Mapping[int, bytes], locality: int) -> None:
        """TPM2_PCR_Extend at a locality; PlatformUnable where the TPM refuses."""
        values = [TPMT_HA(hashAlg=bank, digest=_hash_union(value)) for bank, value in digests.items()]
        self._platform(_Control.SET_LOCALITY, bytes((locality,)))
        try:
            self._esapi.pcr_extend(ESYS_TR(pcr), TPML_DIGEST_VALUES(values))
        except TSS2_Exception as error:
            raise PlatformUnable(f"the TPM refuses to extend PCR {pcr} at locality {locality}: {error}") from error
        finally:
            self._platform(_Control.SET_LOCALITY, bytes(1))

    def read(self, selection: PcrSelection) -> dict[int, dict[int, bytes]]:
        """The values of PCRs, by bank and index; eight at most."""
        _, _, digests = self._esapi.pcr_read(_selection(selection))
        values = iter(bytes(each) for each in digests)
        return {bank: {pcr: next(values) for pcr in pcrs} for bank, pcrs in selection.banks}

    def attestation_key(self) -> EllipticCurvePublicKey:
        """The public attestation key, a primary key of the endorsement hierarchy: the same in each life of this TPM."""
        _, public = self._attestation_key()
        point = public.publicArea.unique.ecc
        x, y = (int.from_bytes(bytes(each), "big") for each in (point.x, point.y))
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()

    def quote(self, nonce: bytes, selection: PcrSelection) -> tuple[bytes, bytes]:
        """TPM2_Quote: TPMS_ATTEST and TPMT_SIGNATURE; PlatformUnable where the TPM does not give one."""
        try:
            handle, _ = self._attestation_key()
            attest, signature = self._esapi.quote(handle, _selection(selection), TPM2B_DATA(nonce))
        except (OSError, TSS2_Exception) as error:
            raise PlatformUnable(f"the TPM must quote, and does not: {error}") from error
        return bytes(attest), bytes(signature.marshal())

    def close(self) -> None:
        """Shut it down in an orderly way, so that its clock stays safe; safe to call twice."""
        if self._process.poll() is None:
            with suppress(OSError, TSS2_Exception, PlatformUnable):
                self._esapi.shutdown(_CLEAR)
                self._platform(_Control.SHUTDOWN)
        self._process.kill()
        self._process.wait()
        self._esapi.close()
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

    def _attestation_key(self) -> tuple[ESYS_TR, TPM2B_PUBLIC]:
        area, _ = TPMT_PUBLIC.unmarshal(attestation_key_area(0, 0))
        if self._key is None:
            handle, public, *_ = self._esapi.create_primary(
                TPM2B_SENSITIVE_CREATE(), TPM2B_PUBLIC(area), ESYS_TR.ENDORSEMENT
            )
            self._key = (handle, public)
        return self._key

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


def _selection(selection: PcrSelection) -> TPML_PCR_SELECTION:
    made, _ = TPML_PCR_SELECTION.unmarshal(selection.encode())
    return made


def _hash_union(value: bytes) -> TPMU_HA:
    return TPMU_HA(sha256=value)


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        chunk = connection.recv(length - len(received))
        if not chunk:
            raise ConnectionError("it closed the connection")
        received += chunk
    return received

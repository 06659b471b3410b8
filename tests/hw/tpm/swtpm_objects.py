"""Policy sessions, sealed objects and NV indices of a running swtpm, in raw commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from tests.hw.tpm.swtpm import Swtpm
from vafw.tcg.selection import PcrSelection
from vafw.wire import Reader

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
PASSWORD: Final = bytes.fromhex("00000009 40000009 0000 00 0000")
_NULL: Final = bytes.fromhex("40000007")
_OWNER: Final = bytes.fromhex("40000001")
_STORAGE_KEY: Final = bytes.fromhex("0023 000b 00030472 0000 0006 0080 0043 0010 0003 0010 0000 0000")
_SEALED_ATTRIBUTES: Final = bytes.fromhex("00000412")
"""fixedTPM, fixedParent, noDA: no password opens it."""
_POLICYWRITE_AUTHREAD_NO_DA: Final = 1 << 3 | 1 << 18 | 1 << 25


def sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def with_session(handle: int) -> bytes:
    """An authorization area with one policy session that goes on afterwards."""
    return bytes.fromhex("00000009") + handle.to_bytes(4, "big") + bytes.fromhex("0000 01 0000")


@final
@dataclass(frozen=True)
class Sessions:
    """What a test asks of swtpm's enhanced authorization."""

    tpm: Swtpm

    def start(self) -> int:
        """TPM2_StartAuthSession: an unbound, unsalted policy session with SHA-256."""
        body = _NULL + _NULL + sized(bytes(16)) + sized(b"") + b"\1" + bytes.fromhex("0010 000b")
        code, reply = self.tpm.command(NO_SESSIONS, 0x176, body)
        assert code == 0
        return int.from_bytes(reply[:4], "big")

    def policy_pcr(self, session: int, selection: PcrSelection, expected: bytes = b"") -> int:
        body = session.to_bytes(4, "big") + sized(expected) + selection.encode()
        return self.tpm.command(NO_SESSIONS, 0x17F, body)[0]

    def policy_locality(self, session: int, bits: int) -> int:
        return self.tpm.command(NO_SESSIONS, 0x16F, session.to_bytes(4, "big") + bytes((bits,)))[0]

    def digest(self, session: int) -> bytes:
        """TPM2_PolicyGetDigest."""
        code, reply = self.tpm.command(NO_SESSIONS, 0x189, session.to_bytes(4, "big"))
        assert code == 0
        return reply[2:]

    def seal(self, secret: bytes, policy: bytes) -> int:
        """A loaded object, sealed to the policy; its handle."""
        parent = self._storage_key()
        sensitive = sized(sized(b"") + sized(secret))
        public = sized(bytes.fromhex("0008 000b") + _SEALED_ATTRIBUTES + sized(policy) + bytes.fromhex("0010 0000"))
        body = parent + PASSWORD + sensitive + public + sized(b"") + bytes(4)
        code, reply = self.tpm.command(SESSIONS, 0x153, body)
        assert code == 0
        reader = Reader(reply, "TPM2_Create", "big", offset=4)
        private, area = reader.sized("private", at_most=1024), reader.sized("public", at_most=1024)
        code, reply = self.tpm.command(SESSIONS, 0x157, parent + PASSWORD + sized(private) + sized(area))
        assert code == 0
        return int.from_bytes(reply[:4], "big")

    def unseal(self, handle: int, session: int | None, locality: int = 0) -> tuple[int, bytes]:
        """Response code and secret."""
        self.tpm.at_locality(locality)
        area = PASSWORD if session is None else with_session(session)
        code, reply = self.tpm.command(SESSIONS, 0x15E, handle.to_bytes(4, "big") + area)
        return code, reply[6 : 6 + int.from_bytes(reply[4:6], "big")] if code == 0 else b""

    def define(self, index: int, size: int, policy: bytes) -> int:
        """TPM2_NV_DefineSpace of an index that is written by policy and read by anybody."""
        handle, attributes = index.to_bytes(4, "big"), _POLICYWRITE_AUTHREAD_NO_DA.to_bytes(4, "big")
        public = handle + bytes.fromhex("000b") + attributes + sized(policy) + size.to_bytes(2, "big")
        return self.tpm.command(SESSIONS, 0x12A, _OWNER + PASSWORD + sized(b"") + sized(public))[0]

    def write(self, index: int, data: bytes, session: int | None, locality: int = 0) -> int:
        """TPM2_NV_Write."""
        self.tpm.at_locality(locality)
        handle = index.to_bytes(4, "big")
        area = PASSWORD if session is None else with_session(session)
        return self.tpm.command(SESSIONS, 0x137, handle + handle + area + sized(data) + bytes(2))[0]

    def _storage_key(self) -> bytes:
        body = _OWNER + PASSWORD + bytes((0, 4, 0, 0, 0, 0)) + sized(_STORAGE_KEY) + bytes(2) + bytes(4)
        code, reply = self.tpm.command(SESSIONS, 0x131, body)
        assert code == 0
        return reply[:4]

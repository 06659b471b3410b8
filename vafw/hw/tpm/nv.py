"""Non-volatile indices: small named byte strings that survive power cycles and can be locked against writing.

TPM 2.0 Library, Part 1, "NV Indexes". What the launch needs of them: the owner's launch control policy stands in
index 0x01C10106, which SINIT reads. Two things stand between a running system and the policy: the lock
(TPMA_NV_WRITEDEFINE), and a policy that writing asks for (TPMA_NV_POLICYWRITE). Passwords are not modelled: whoever
holds the `Tpm` is its owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.hw.tpm.rc import ResponseCode, TpmError

LCP_OWNER_INDEX: Final = 0x01C1_0106
"""Platform owner's launch control policy (Intel TXT Software Development Guide, "TPM NV")."""
CAPACITY_BYTES: Final = 7168
"""Room for the data of all indices together."""


@dataclass(slots=True)
class _Index:
    data: bytearray
    write_policy: bytes
    written: bool = False
    locked: bool = False


@final
class NvStorage:
    """All indices of one TPM."""

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self.capacity_bytes = capacity_bytes
        self._indices: dict[int, _Index] = {}

    def define(self, index: int, size: int, write_policy: bytes = b"") -> None:
        """Make an unwritten index of `size` bytes (TPM2_NV_DefineSpace); writing must satisfy `write_policy`."""
        if index in self._indices:
            raise TpmError(ResponseCode.NV_DEFINED, f"NV index {index:#x} must not be defined twice")
        free = self.capacity_bytes - sum(len(each.data) for each in self._indices.values())
        if not 0 < size <= free:
            raise TpmError(ResponseCode.NV_SPACE, f"an NV index must have 1 to {free} bytes, not {size}")
        self._indices[index] = _Index(bytearray(size), write_policy)

    def write(self, index: int, data: bytes, offset: int = 0) -> None:
        """Write inside the index (TPM2_NV_Write)."""
        found = self._find(index)
        if found.locked:
            raise TpmError(ResponseCode.NV_LOCKED, f"NV index {index:#x} must not be written: it is locked")
        self._require_range(index, found, offset, len(data))
        found.data[offset : offset + len(data)] = data
        found.written = True

    def write_policy(self, index: int) -> bytes:
        """The policy digest that writing asks for; empty where it asks for nothing."""
        return self._find(index).write_policy

    def read(self, index: int, size: int | None = None, offset: int = 0) -> bytes:
        """`size` bytes, or all from `offset` on (TPM2_NV_Read)."""
        found = self._find(index)
        if not found.written:
            raise TpmError(ResponseCode.NV_UNINITIALIZED, f"NV index {index:#x} must be written before it is read")
        length = len(found.data) - offset if size is None else size
        self._require_range(index, found, offset, length)
        return bytes(found.data[offset : offset + length])

    def lock(self, index: int) -> None:
        """Refuse every later write, for ever (TPM2_NV_WriteLock of a TPMA_NV_WRITEDEFINE index)."""
        self._find(index).locked = True

    def _find(self, index: int) -> _Index:
        if (found := self._indices.get(index)) is None:
            raise TpmError(ResponseCode.HANDLE_OF_INDEX, f"NV index {index:#x} must be defined before it is used")
        return found

    @staticmethod
    def _require_range(index: int, found: _Index, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > len(found.data):
            raise TpmError(
                ResponseCode.NV_RANGE,
                f"NV index {index:#x} has {len(found.data)} bytes, and the access is {offset}+{length}",
            )

"""Reading a binary structure field by field, so that whatever is wrong names its byte.

Not a description language: each structure has its own decoder next to its encoder. The hard part is that these bytes
come from a machine nobody trusts yet: a length is believed only after the bytes it speaks of were seen to exist.
"""

from __future__ import annotations

from typing import Literal, final

from vafw.errors import VafwError


class FormatError(VafwError):
    """Bytes that are not what they claim to be; says which structure and which byte."""

    def __init__(self, structure: str, problem: str, offset: int | None = None) -> None:
        """`offset` in bytes from the start of the structure; None where no single byte is at fault."""
        where = structure if offset is None else f"{structure}, byte {offset}"
        super().__init__(f"{where}: {problem}")
        self.structure = structure
        self.problem = problem
        self.offset = offset


@final
class Reader:
    """A position in bytes that only moves forward."""

    def __init__(self, data: bytes, structure: str, byteorder: Literal["big", "little"], offset: int = 0) -> None:
        """TPM structures are big-endian, event logs little-endian; `structure` is the name that errors give."""
        self.offset = offset
        self.structure = structure
        self._data = data
        self._byteorder = byteorder

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.offset

    def take(self, length: int, field: str) -> bytes:
        """The next `length` bytes, the content of `field`."""
        if length > self.remaining:
            raise self.error(f"{field} must have {length} bytes, and {self.remaining} are left")
        start = self.offset
        self.offset += length
        return self._data[start : self.offset]

    def u8(self, field: str) -> int:
        """One byte."""
        return self.take(1, field)[0]

    def u16(self, field: str) -> int:
        """Two bytes."""
        return int.from_bytes(self.take(2, field), self._byteorder)

    def u32(self, field: str) -> int:
        """Four bytes."""
        return int.from_bytes(self.take(4, field), self._byteorder)

    def u64(self, field: str) -> int:
        """Eight bytes."""
        return int.from_bytes(self.take(8, field), self._byteorder)

    def sized(self, field: str, *, at_most: int) -> bytes:
        """A 16-bit length and that many bytes (TPM 2.0 Library, Part 2, "TPM2B Types")."""
        start = self.offset
        length = self.u16(f"the size of {field}")
        if length > at_most:
            raise self.error(f"{field} must have at most {at_most} bytes, not {length}", at=start)
        return self.take(length, field)

    def finish(self) -> None:
        """Refuse bytes after the end of the structure."""
        if self.remaining:
            raise self.error(f"nothing may follow the structure, and {self.remaining} B do")

    def error(self, problem: str, *, at: int | None = None) -> FormatError:
        """The error to raise for a field that started at byte `at`, or at the current position."""
        return FormatError(self.structure, problem, self.offset if at is None else at)

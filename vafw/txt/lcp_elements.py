"""Elements of a launch control policy's lists: which MLEs are accepted, and on which platform configurations.

TXT SDG, "LCP_MLE_ELEMENT2", "LCP_PCONF_ELEMENT2". Two kinds of numbers meet: the element's own are little-endian, the
PCR selection and digest inside are the TPM's and big-endian. An element of another type is refused, never skipped: what
a policy says and SINIT does not understand would be said in vain.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from vafw.errors import VafwError
from vafw.tcg.algorithms import SHA256, digest
from vafw.tcg.selection import PcrSelection
from vafw.wire import FormatError, Reader

HASH_SIZE: Final = 32
_HEAD: Final = struct.Struct("<III")
_MLE_TYPE: Final = 0x10
_PCONF_TYPE: Final = 0x11
_MLE: Final = struct.Struct("<BBHH")
_PCONF: Final = struct.Struct("<HH")
_STATIC_PCRS: Final = range(8)

StaticPcrs: TypeAlias = Mapping[int, bytes]
"""SHA-256 PCR 0 to 7, which firmware has extended."""


class PolicyFormatError(VafwError):
    """A policy, or policy data, that cannot be read; the message says what must hold."""


@dataclass(frozen=True, slots=True)
class MleElement:
    """Accepted MLE hashes."""

    hashes: tuple[bytes, ...]
    """SHA-256."""
    sinit_minimum: int = 0
    control: int = 1
    """Bit 0: it stands in place of the platform supplier's elements of this type."""

    def encode(self) -> bytes:
        """The element with its head."""
        body = _MLE.pack(self.sinit_minimum, 0, SHA256, len(self.hashes)) + b"".join(self.hashes)
        return _HEAD.pack(_HEAD.size + len(body), _MLE_TYPE, self.control) + body


@dataclass(frozen=True, slots=True)
class PcrInfo:
    """One platform configuration: which of PCR 0 to 7, and the SHA-256 over their values."""

    pcrs: tuple[int, ...]
    pcr_digest: bytes

    @classmethod
    def of(cls, values: StaticPcrs) -> PcrInfo:
        """The configuration in which these registers hold these values."""
        return cls(tuple(sorted(values)), digest(SHA256, *(values[pcr] for pcr in sorted(values))))

    def holds(self, values: StaticPcrs) -> bool:
        """Whether the registers are in this configuration."""
        found = {pcr: values[pcr] for pcr in self.pcrs if pcr in values}
        return len(found) == len(self.pcrs) and self.pcr_digest == PcrInfo.of(found).pcr_digest

    def encode(self) -> bytes:
        """TPMS_QUOTE_INFO."""
        return PcrSelection.of({SHA256: self.pcrs}).encode() + HASH_SIZE.to_bytes(2, "big") + self.pcr_digest

    @classmethod
    def read(cls, reader: Reader) -> PcrInfo:
        """Decode from the reader's position."""
        selection = PcrSelection.read(reader)
        found = reader.sized("the digest of a platform configuration", at_most=HASH_SIZE)
        pcrs = dict(selection.banks).get(SHA256, ())
        static = bool(pcrs) and all(pcr in _STATIC_PCRS for pcr in pcrs)
        if len(selection.banks) != 1 or not static or len(found) != HASH_SIZE:
            raise PolicyFormatError("a platform configuration must be of PCR 0 to 7 with SHA-256")
        return cls(pcrs, found)


@dataclass(frozen=True, slots=True)
class PconfElement:
    """Accepted platform configurations."""

    infos: tuple[PcrInfo, ...]
    control: int = 1

    def encode(self) -> bytes:
        """The element with its head."""
        body = _PCONF.pack(SHA256, len(self.infos)) + b"".join(each.encode() for each in self.infos)
        return _HEAD.pack(_HEAD.size + len(body), _PCONF_TYPE, self.control) + body


Element: TypeAlias = MleElement | PconfElement


def decode_element(data: bytes, at: int, end: int) -> tuple[Element, int]:
    """Read the element at an offset of a list that ends at `end`; returns where the next one begins."""
    if at + _HEAD.size > end:
        raise PolicyFormatError(f"a policy element must end within its list, not run past {end:#x}")
    size, kind, control = _HEAD.unpack_from(data, at)
    if not _HEAD.size <= size <= end - at:
        raise PolicyFormatError(f"a policy element must end within its list, not have {size} bytes at {at:#x}")
    body = data[at + _HEAD.size : at + size]
    if kind == _MLE_TYPE:
        return _decode_mle(body, control), at + size
    if kind == _PCONF_TYPE:
        return _decode_pconf(body, control), at + size
    raise PolicyFormatError(f"a policy element's type must be MLE (0x10) or PCONF (0x11), not {kind:#x}")


def _decode_mle(body: bytes, control: int) -> MleElement:
    if len(body) < _MLE.size:
        raise PolicyFormatError(f"an MLE element must have {_MLE.size} bytes before its hashes, not {len(body)}")
    minimum, reserved, algorithm, count = _MLE.unpack_from(body)
    if algorithm != SHA256 or reserved:
        raise PolicyFormatError(f"an MLE element's hashes must be SHA-256 (0x000b), not {algorithm:#06x}")
    if len(body) != _MLE.size + count * HASH_SIZE:
        raise PolicyFormatError(f"an MLE element with {count} hashes must not have {len(body)} bytes")
    hashes = tuple(body[each : each + HASH_SIZE] for each in range(_MLE.size, len(body), HASH_SIZE))
    return MleElement(hashes, minimum, control)


def _decode_pconf(body: bytes, control: int) -> PconfElement:
    reader = Reader(body, "PCONF element", "big", offset=min(_PCONF.size, len(body)))
    try:
        algorithm, count = _PCONF.unpack_from(body)
        infos = tuple(PcrInfo.read(reader) for _ in range(count))
        reader.finish()
    except (FormatError, struct.error, ValueError) as error:
        raise PolicyFormatError(f"a PCONF element must hold as many configurations as it says: {error}") from error
    if algorithm != SHA256:
        raise PolicyFormatError(f"a PCONF element's hashes must be SHA-256 (0x000b), not {algorithm:#06x}")
    return PconfElement(infos, control)

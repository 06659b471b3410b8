"""Which PCRs of which banks: TPML_PCR_SELECTION, and the digest that a quote makes over them.

TPM 2.0 Library, Part 2, "TPML_PCR_SELECTION" and "TPMS_PCR_SELECTION"; big-endian; three bytes of bitmap, as the PC
Client Platform TPM Profile has 24 PCRs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from vafw.tcg.algorithms import SHA1, SHA256, algorithm_name, digest
from vafw.wire import Reader

_BITMAP_BYTES: Final = 3
_MOST_BANKS: Final = 16


@final
@dataclass(frozen=True, slots=True)
class PcrSelection:
    """Banks in order, each with its PCRs in ascending order."""

    banks: tuple[tuple[int, tuple[int, ...]], ...]
    """Algorithm and indices."""

    @classmethod
    def of(cls, banks: Mapping[int, tuple[int, ...]]) -> PcrSelection:
        """Banks in the order given; indices are sorted, duplicates dropped."""
        for pcrs in banks.values():
            if any(not 0 <= pcr < 8 * _BITMAP_BYTES for pcr in pcrs):
                raise ValueError(f"a selection must name PCRs 0 to 23, not {pcrs}")
        return cls(tuple((algorithm, tuple(sorted(set(pcrs)))) for algorithm, pcrs in banks.items()))

    def encode(self) -> bytes:
        """The bytes of the structure."""
        parts = [len(self.banks).to_bytes(4, "big")]
        for algorithm, pcrs in self.banks:
            bitmap = sum(1 << pcr for pcr in pcrs).to_bytes(_BITMAP_BYTES, "little")
            parts.append(algorithm.to_bytes(2, "big") + bytes((_BITMAP_BYTES,)) + bitmap)
        return b"".join(parts)

    @classmethod
    def read(cls, reader: Reader) -> PcrSelection:
        """Decode from the reader's position; FormatError names the byte that is wrong."""
        start = reader.offset
        count = reader.u32("the number of PCR banks")
        if count > _MOST_BANKS:
            raise reader.error(f"a selection must have at most {_MOST_BANKS} banks, not {count}", at=start)
        return cls(tuple(_bank(reader) for _ in range(count)))

    def digest(self, algorithm: int, values: Mapping[int, Mapping[int, bytes]]) -> bytes:
        """H(the selected values one after the other); KeyError where `values` lacks one of them."""
        return digest(algorithm, *(values[bank][pcr] for bank, pcrs in self.banks for pcr in pcrs))

    def __str__(self) -> str:
        return " and ".join(f"{algorithm_name(bank)}:{','.join(map(str, pcrs)) or 'none'}" for bank, pcrs in self.banks)


def _bank(reader: Reader) -> tuple[int, tuple[int, ...]]:
    algorithm = reader.u16("the algorithm of a PCR bank")
    start = reader.offset
    if (size := reader.u8("the size of a PCR bitmap")) != _BITMAP_BYTES:
        raise reader.error(f"a PCR bitmap must have {_BITMAP_BYTES} bytes, not {size}", at=start)
    bitmap = int.from_bytes(reader.take(_BITMAP_BYTES, "a PCR bitmap"), "little")
    return algorithm, tuple(pcr for pcr in range(8 * _BITMAP_BYTES) if bitmap >> pcr & 1)


LAUNCH_PCRS: Final = (17, 18, 19)
"""What a dynamic launch is attested by: details, authorities, and what the VMM is about to run."""
LAUNCH_SELECTION: Final = PcrSelection.of({SHA256: LAUNCH_PCRS, SHA1: LAUNCH_PCRS})
"""What to quote after a launch whose log carries SHA-256 and SHA-1: every bank of the log, or the digests of the
bank left out would be anybody's word."""

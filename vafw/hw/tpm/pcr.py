"""Platform configuration registers: banks, startup values, and which locality may do what to which register.

TPM 2.0 Library, Part 1, "PCR Operations"; TCG PC Client Platform TPM Profile, "PCR Attributes". The table below was
compared with a TPM 2.0 implementation for all five localities and 24 registers.

    PCR           0-15   16, 23   17    18    19    20    21, 22
    extend at     0-4    0-4      2-4   2-4   2,3   1-3   2
    reset at      -      0-3      -     -     -     2     2
    at startup    0      0        ones  ones  ones  ones  ones

PCR 17 to 22 are ones until a hash sequence at locality 4 makes them zero: ones mean that no dynamic launch took place.
"""

from __future__ import annotations

from typing import Final, final

from vafw.tcg.algorithms import DIGEST_SIZES, extended

PCR_COUNT: Final = 24
DYNAMIC_LAUNCH_PCRS: Final = range(17, 23)
"""Reset by the hash sequence of a dynamic launch, and by nothing else."""
SAVED_PCRS: Final = range(16)
"""Kept over a suspend: Shutdown(STATE), Startup(STATE)."""
UNCOUNTED_PCRS: Final = frozenset((16, 21, 22, 23))
"""Whose changes do not move the update counter (TPM_PT_PCR_NO_INCREMENT): no policy session is voided by them."""
_EVERY_LOCALITY: Final = frozenset(range(5))
_NO_LOCALITY: Final[frozenset[int]] = frozenset()


def extend_localities(pcr: int) -> frozenset[int]:
    """The localities at which TPM2_PCR_Extend of this register is allowed."""
    special = {17: (2, 3, 4), 18: (2, 3, 4), 19: (2, 3), 20: (1, 2, 3), 21: (2,), 22: (2,)}
    return frozenset(special[pcr]) if pcr in special else _EVERY_LOCALITY


def reset_localities(pcr: int) -> frozenset[int]:
    """The localities at which TPM2_PCR_Reset of this register is allowed."""
    if pcr in (16, 23):
        return frozenset((0, 1, 2, 3))
    return frozenset((2,)) if pcr in (20, 21, 22) else _NO_LOCALITY


@final
class PcrBank:
    """The 24 registers of one hash algorithm."""

    def __init__(self, algorithm: int) -> None:
        self.algorithm = algorithm
        self.size = DIGEST_SIZES[algorithm]
        self._values: list[bytes] = []
        self.start()

    def start(self) -> None:
        """Give every register its value after startup."""
        self._values = [(b"\xff" if pcr in DYNAMIC_LAUNCH_PCRS else b"\0") * self.size for pcr in range(PCR_COUNT)]

    def read(self, pcr: int) -> bytes:
        """The register's value."""
        return self._values[pcr]

    def extend(self, pcr: int, event_digest: bytes) -> None:
        """H(value || digest) becomes the value."""
        self._values[pcr] = extended(self.algorithm, self._values[pcr], event_digest)

    def load(self, pcr: int, value: bytes) -> None:
        """Set the register."""
        self._values[pcr] = value

    def reset(self, pcr: int) -> None:
        """Zeros become the value."""
        self._values[pcr] = bytes(self.size)

    def __repr__(self) -> str:
        return f"<PcrBank {self.algorithm:#06x} PCR17={self._values[17].hex()[:16]}>"

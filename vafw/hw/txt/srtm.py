"""The static measurement: what firmware measures into PCR 0 to 7 from power-on to the boot loader, and its log.

TCG PC Client Platform Firmware Profile, "PCR Usage" and "Event Logging". It says what ran before the launch, and
nothing here depends on it but a launch control policy that asks for a platform configuration: a dynamic launch is worth
what PCR 17 says, whatever came before. The modelled firmware is its version strings.

    PCR 0 firmware    1 its configuration    2 option ROMs    4 boot loader    5 its configuration    7 secure boot
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vafw.hw.tpm.tpm import Tpm
from vafw.tcg.algorithms import digest
from vafw.tcg.eventlog import Event, encode_log
from vafw.tcg.events import EventType

_FIRMWARE_LOCALITY: Final = 0
_BEFORE_LOADER: Final = range(8)
_SEPARATOR: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing that firmware measures."""

    pcr: int
    event_type: EventType
    data: bytes
    """What is hashed, and stands in the log."""


FIRMWARE: Final = (
    Measured(0, EventType.EV_S_CRTM_VERSION, b"vafw model firmware 1"),
    Measured(0, EventType.EV_POST_CODE, b"POST CODE"),
    Measured(1, EventType.EV_CPU_MICROCODE, b"microcode revision 1"),
    Measured(2, EventType.EV_ACTION, b"no option ROM"),
    Measured(7, EventType.EV_ACTION, b"secure boot off"),
)
"""What stands in the model's firmware."""
BOOT_LOADER: Final = (
    Measured(4, EventType.EV_IPL, b"vafw model boot loader 1"),
    Measured(5, EventType.EV_IPL_PARTITION_DATA, b"launch vmm"),
)
"""What it then gives control to."""


def measure(tpm: Tpm, firmware: Iterable[Measured] = FIRMWARE, loader: Iterable[Measured] = BOOT_LOADER) -> bytes:
    """Extend firmware, a separator in each of PCR 0 to 7, and the loader; returns the event log with its header."""
    separators = (Measured(pcr, EventType.EV_SEPARATOR, _SEPARATOR) for pcr in _BEFORE_LOADER)
    return encode_log([_extend(tpm, each) for each in (*firmware, *separators, *loader)], tpm.banks)


def _extend(tpm: Tpm, measured: Measured) -> Event:
    digests = {bank: digest(bank, measured.data) for bank in tpm.banks}
    tpm.extend(measured.pcr, digests, _FIRMWARE_LOCALITY)
    return Event(measured.pcr, measured.event_type, digests, measured.data)

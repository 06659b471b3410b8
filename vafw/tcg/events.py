"""Event types of measured-launch logs: their names, and what replaying each does to its PCR.

The hard part is TXT_HASH_START: SINIT logs as its digest the value that PCR 17 already has after the hash sequence,
so a replay must load it where it extends every other event. Tools that extend it get PCR 17 wrong for real logs too.

Types below 0x400: TCG PC Client Platform Firmware Profile, "Event Types". From 0x400: Intel TXT Software Development
Guide, "TXT Event Types" (there EVTYPE_BASE + n).

What the data of an event may say: an event is worth what its digest covers. So the data of every TXT event is either
empty or the bytes that the digest was computed over; only EV_IPL carries a label instead (`vafw plan NAME`,
`vafw topology`, `vafw policy`, `vafw image NAME`), which the verifier holds against what it expects.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

PCR_MAPPING_INDEX: Final = 255
"""The PCR field of a TXT_PCR_MAPPING event, which speaks of no PCR."""
DETAILS_AND_AUTHORITIES: Final = 1
"""The data of a TXT_PCR_MAPPING event: details go into PCR 17, authorities into PCR 18."""


class EventType(IntEnum):
    """Event types known by name."""

    EV_NO_ACTION = 0x3
    EV_SEPARATOR = 0x4
    EV_IPL = 0xD
    TXT_PCR_MAPPING = 0x401
    TXT_HASH_START = 0x402
    TXT_COMBINED_HASH = 0x403
    TXT_MLE_HASH = 0x404
    TXT_BIOSAC_REG_DATA = 0x40A
    TXT_CPU_SCRTM_STAT = 0x40B
    TXT_LCP_CONTROL_HASH = 0x40C
    TXT_ELEMENTS_HASH = 0x40D
    TXT_STM_HASH = 0x40E
    TXT_OSSINITDATA_CAP_HASH = 0x40F
    TXT_SINIT_PUBKEY_HASH = 0x410
    TXT_LCP_HASH = 0x411
    TXT_LCP_DETAILS_HASH = 0x412
    TXT_LCP_AUTHORITIES_HASH = 0x413
    TXT_NV_INFO_HASH = 0x414
    TXT_COLD_BOOT_BIOS_HASH = 0x415
    TXT_KM_HASH = 0x416
    TXT_BPM_HASH = 0x417
    TXT_KM_INFO_HASH = 0x418
    TXT_BPM_INFO_HASH = 0x419
    TXT_BOOT_POL_HASH = 0x41A
    TXT_RANDOM_VALUE = 0x4FE
    TXT_CAP_VALUE = 0x4FF


class Replay(Enum):
    """What an event does to its PCR when a log is replayed."""

    EXTENDS = "extends"
    LOADS = "loads"
    """The digest is the PCR's value."""
    NOTHING = "nothing"


def replay_of(event_type: int) -> Replay:
    """What an event of this type does; a type nobody knows extends, as the firmware profile has it."""
    if event_type == EventType.TXT_HASH_START:
        return Replay.LOADS
    if event_type in (EventType.EV_NO_ACTION, EventType.TXT_PCR_MAPPING):
        return Replay.NOTHING
    return Replay.EXTENDS


def event_name(event_type: int) -> str:
    """For instance ``MLE_HASH``; a type nobody knows as hexadecimal."""
    try:
        return EventType(event_type).name.removeprefix("TXT_")
    except ValueError:
        return f"{event_type:#x}"

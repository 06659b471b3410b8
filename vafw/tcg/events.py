"""Event types of measured-launch logs: their names, and what replaying each does to its PCR.

The hard part is TXT_HASH_START: SINIT logs as its digest the value that PCR 17 already has after the hash sequence,
so a replay must load it where it extends every other event. Tools that extend it get PCR 17 wrong for real logs too.

Types below 0x400 and from 0x80000000: TCG PC Client Platform Firmware Profile, "Event Types". From 0x400: Intel TXT
Software Development Guide, "TXT Event Types" (there EVTYPE_BASE + n); from 0x500 those of tboot and of TrenchBoot.

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

    EV_PREBOOT_CERT = 0x0
    EV_POST_CODE = 0x1
    EV_UNUSED = 0x2
    EV_NO_ACTION = 0x3
    EV_SEPARATOR = 0x4
    EV_ACTION = 0x5
    EV_EVENT_TAG = 0x6
    EV_S_CRTM_CONTENTS = 0x7
    EV_S_CRTM_VERSION = 0x8
    EV_CPU_MICROCODE = 0x9
    EV_PLATFORM_CONFIG_FLAGS = 0xA
    EV_TABLE_OF_DEVICES = 0xB
    EV_COMPACT_HASH = 0xC
    EV_IPL = 0xD
    EV_IPL_PARTITION_DATA = 0xE
    EV_NONHOST_CODE = 0xF
    EV_NONHOST_CONFIG = 0x10
    EV_NONHOST_INFO = 0x11
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x12
    EV_POST_CODE2 = 0x13
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
    TBOOT = 0x501
    """What tboot measured itself: its launch control policy and its modules."""
    SLAUNCH = 0x502
    """What the Secure Launch stub of Linux measured: boot parameters, command line, initrd."""
    SLAUNCH_START = 0x503
    SLAUNCH_END = 0x504
    """Marks around the events that the kernel extends; nothing is measured by them."""
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EV_EFI_VARIABLE_BOOT = 0x80000002
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EV_EFI_BOOT_SERVICES_DRIVER = 0x80000004
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x80000005
    EV_EFI_GPT_EVENT = 0x80000006
    EV_EFI_ACTION = 0x80000007
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EV_EFI_HANDOFF_TABLES = 0x80000009
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000A
    EV_EFI_HANDOFF_TABLES2 = 0x8000000B
    EV_EFI_VARIABLE_BOOT2 = 0x8000000C
    EV_EFI_GPT_EVENT2 = 0x8000000D
    EV_EFI_HCRTM_EVENT = 0x80000010
    EV_EFI_VARIABLE_AUTHORITY = 0x800000E0
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x800000E1
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x800000E2
    EV_EFI_SPDM_DEVICE_POLICY = 0x800000E3
    EV_EFI_SPDM_DEVICE_AUTHORITY = 0x800000E4


class Replay(Enum):
    """What an event does to its PCR when a log is replayed."""

    EXTENDS = "extends"
    LOADS = "loads"
    """The digest is the PCR's value."""
    NOTHING = "nothing"


_MARKS: Final = (
    EventType.EV_NO_ACTION,
    EventType.TXT_PCR_MAPPING,
    EventType.SLAUNCH_START,
    EventType.SLAUNCH_END,
)


def replay_of(event_type: int) -> Replay:
    """What an event of this type does; a type nobody knows extends, as the firmware profile has it."""
    if event_type == EventType.TXT_HASH_START:
        return Replay.LOADS
    if event_type in _MARKS:
        return Replay.NOTHING
    return Replay.EXTENDS


def event_name(event_type: int) -> str:
    """For instance ``MLE_HASH``; a type nobody knows as hexadecimal."""
    try:
        return EventType(event_type).name.removeprefix("TXT_")
    except ValueError:
        return f"{event_type:#x}"

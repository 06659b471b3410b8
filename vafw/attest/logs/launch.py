"""What the data of each event of a dynamic launch says (Intel TXT Software Development Guide, "TXT Event Types")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vafw.attest.logs.firmware import opaque, text
from vafw.attest.logs.model import Description
from vafw.tcg.events import DETAILS_AND_AUTHORITIES, EventType
from vafw.trace import Value
from vafw.wire import FormatError, Reader

_SINIT_DIGESTS: Final = (20, 32, 48, 64)


def mapping(data: bytes) -> Description:
    """Which PCR gets what."""
    value = int.from_bytes(data, "little")
    if len(data) != 4 or value not in (0, DETAILS_AND_AUTHORITIES):
        raise FormatError("PCR_MAPPING", f"the data must be 0 or 1 in 4 bytes, not {data[:16].hex()}")
    meaning = "details in PCR 17, authorities in PCR 18" if value else "legacy: everything in PCR 17, the MLE in PCR 18"
    return Description(meaning, {"mapping": value})


def hash_start(data: bytes) -> Description:
    """SINIT's digest and the controls of GETSEC[SENTER]: what the hash sequence at locality 4 was fed."""
    if len(data) - 4 not in _SINIT_DIGESTS:
        raise FormatError("HASH_START", f"the data must be a digest and 4 bytes of EDX, not {len(data)} bytes")
    digest, controls = data[:-4].hex(), int.from_bytes(data[-4:], "little")
    return Description(f"SINIT {digest}, EDX {controls:#x}", {"sinit": digest, "edx": controls})


def combined(data: bytes) -> Description:
    """What the legacy mapping extends into PCR 17 after SINIT: SinitMleData's parts, one after the other."""
    reader = Reader(data, "COMBINED_HASH", "little")
    bios, mseg = reader.take(20, "the BIOS ACM id").hex(), reader.u64("MSEG valid")
    stm, control = reader.take(20, "the STM hash").hex(), reader.u32("the policy control")
    policy, capabilities = reader.take(20, "the policy hash").hex(), reader.u32("the capabilities")
    status = reader.u32("the S-CRTM status") if reader.remaining else None
    reader.finish()
    members: dict[str, Value] = {
        "bios-acm": bios,
        "mseg-valid": mseg,
        "stm": stm,
        "policy-control": control,
        "policy": policy,
    }
    members |= {"capabilities": capabilities, **({} if status is None else {"s-crtm-status": status})}
    return Description(f"BIOS ACM {bios[:16]}…, policy {policy[:16]}…, control {control:#x}", members)


def number(name: str) -> Callable[[bytes], Description]:
    """A 32-bit number, or a digest where the launcher logged one instead."""

    def decode(data: bytes) -> Description:
        if len(data) != 4:
            return opaque(data)
        value = int.from_bytes(data, "little")
        return Description(f"{name} {value:#x}", {name.replace(" ", "-"): value})

    return decode


DECODERS: Final[dict[int, Callable[[bytes], Description]]] = {
    EventType.TXT_PCR_MAPPING: mapping,
    EventType.TXT_HASH_START: hash_start,
    EventType.TXT_COMBINED_HASH: combined,
    EventType.TXT_LCP_CONTROL_HASH: number("policy control"),
    EventType.TXT_OSSINITDATA_CAP_HASH: number("capabilities"),
    EventType.TXT_CPU_SCRTM_STAT: number("S-CRTM status"),
    EventType.SLAUNCH: text,
    EventType.SLAUNCH_START: text,
    EventType.SLAUNCH_END: text,
}
"""By event type; every other type is opaque."""

"""What a DNS filter tells the firewall before it: this name has these addresses, for so long.

A frame of its own on the link between the two, ahead of the answer that it is about, so that the firewall knows the
address before the first packet to it comes. The EtherType is one that IEEE 802 keeps for local experiments; a filter
lets no such frame through from either side, and a firewall takes one from the inside only, so that who sends it can
only be an appliance. What it says binds the firewall no further than its rules do (`Selector.addresses`).

    6 bytes to · 6 bytes from · 88 b5 · "vafw-names1" · count · for each: version, TTL (4), length, name, address

Where filter and firewall are guests of their own, the firewall says when it knows, so that the answer need not race it:

    6 bytes to · 6 bytes from · 88 b5 · "vafw-heard1" · CRC-32 of the notice (4)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

from vafw.traffic.dns_answer import NamedAddress

ETHERTYPE: Final = b"\x88\xb5"
"""IEEE 802, "Local Experimental Ethertype 1"."""
GROUP: Final = bytes.fromhex("0180c200000e")
"""The group address that no bridge forwards (IEEE 802.1Q, "Nearest Bridge")."""
_SENDER: Final = bytes.fromhex("020000766166")
_MAGIC: Final = b"vafw-names1"
_HEARD: Final = b"vafw-heard1"
_START: Final = 14 + len(_MAGIC)
MOST: Final = 32
"""Addresses in one notice at most, so that it fits a frame whatever the names are called."""
_SIZES: Final = {4: 4, 6: 16}


def notices(found: Iterable[NamedAddress]) -> tuple[bytes, ...]:
    """The frames that tell of these addresses; a name too long for DNS is left out."""
    entries = [_entry(each) for each in found if len(each.name) <= 253]
    frames: list[bytes] = []
    for entry in entries:
        if frames and len(frames[-1]) + len(entry) <= 1500 and frames[-1][_START] < MOST:
            last = frames[-1]
            frames[-1] = last[:_START] + bytes([last[_START] + 1]) + last[_START + 1 :] + entry
        else:
            frames.append(GROUP + _SENDER + ETHERTYPE + _MAGIC + b"\x01" + entry)
    return tuple(frames)


def _entry(each: NamedAddress) -> bytes:
    name = each.name.encode("ascii", "replace")
    ttl = min(each.ttl_s, 0x7FFFFFFF).to_bytes(4, "big")
    return bytes([each.version]) + ttl + bytes([len(name)]) + name + each.address.to_bytes(_SIZES[each.version], "big")


def is_notice(frame: bytes) -> bool:
    """Whether the frame is of the EtherType of notices, whatever is in it."""
    return frame[12:14] == ETHERTYPE


def read_notice(frame: bytes) -> tuple[NamedAddress, ...] | None:
    """The addresses that a notice tells of; None where it is none, or is cut short."""
    if not is_notice(frame) or frame[14:_START] != _MAGIC or len(frame) <= _START or frame[_START] > MOST:
        return None
    found, at = [], _START + 1
    for _ in range(frame[_START]):
        if at + 6 > len(frame) or frame[at] not in _SIZES:
            return None
        version, ttl_s, length = frame[at], int.from_bytes(frame[at + 1 : at + 5], "big"), frame[at + 5]
        end = at + 6 + length + _SIZES[version]
        if end > len(frame):
            return None
        name = frame[at + 6 : at + 6 + length].decode("ascii", "replace")
        found.append(NamedAddress(name, version, int.from_bytes(frame[at + 6 + length : end], "big"), ttl_s))
        at = end
    return tuple(found)


def heard(notice: bytes) -> bytes:
    """The frame by which the firewall says that it knows what this notice tells of."""
    return GROUP + _SENDER + ETHERTYPE + _HEARD + crc32(notice).to_bytes(4, "big")

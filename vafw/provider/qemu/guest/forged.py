"""Frames that no rule lets pass, sent on purpose to see that nothing lets them pass."""

from __future__ import annotations

from typing import Final

PRIVATE_ETHERTYPE: Final = b"\x88\xb5"
"""IEEE 802 local experimental ethertype 1."""
FORGED_SOURCE: Final = bytes((10, 9, 9, 9))
"""An address that is not the user's."""
FORGED_DESTINATION: Final = bytes((99, 99, 99, 10))
"""An address that nothing else is sent to: a router may put its own in the place of the source."""
_FORGER: Final = bytes.fromhex("52540066dead")
_BROADCAST: Final = b"\xff" * 6
_LEAST: Final = 46


def forged_frames(*stations: bytes) -> tuple[bytes, ...]:
    """An experimental ethertype, and an IPv4 packet with a source that is somebody else's.

    To everybody, and to each of `stations`: a router takes only what is sent to its own MAC address.
    """
    private = PRIVATE_ETHERTYPE + b"vafw: nobody passes this on".ljust(_LEAST, b"\0")
    header = bytes.fromhex("4500001c0000000040110000") + FORGED_SOURCE + FORGED_DESTINATION
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    checksum = (~(total % 0xFFFF) & 0xFFFF).to_bytes(2, "big")
    datagram = header[:10] + checksum + header[12:] + bytes.fromhex("c000005000080000")
    forged = private, b"\x08\x00" + datagram.ljust(_LEAST, b"\0")
    return tuple(station + _FORGER + each for station in (_BROADCAST, *stations) for each in forged)

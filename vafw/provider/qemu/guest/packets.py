"""Packet sockets (packet(7)): frames of an interface as they are on the path, all of them or those of one kind.

The kernel takes a VLAN tag off a frame and says it beside; `receive` puts it back. It does so for a socket that takes
every protocol only: one that asks for an EtherType is handed a frame with a priority tag (VLAN 0) as one that never had
a tag, so that whoever may send tagged frames could pass for somebody else. A socket for one kind of frames is
therefore one for all, behind a filter that the kernel runs (classic BPF).
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

Instruction: TypeAlias = tuple[int, int, int, int]
"""Code, instructions to skip where true and where false, and a constant."""
Listen: TypeAlias = Callable[[socket.socket, Callable[[], None]], None]
"""Has something done whenever a socket has something to say."""

_ALL_PROTOCOLS: Final = 3
"""ETH_P_ALL."""
_OUTGOING: Final = 4
"""PACKET_OUTGOING."""
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_STATISTICS: Final = 6
_AUXDATA: Final = 8
_GROUP, _PROMISCUOUS = 0, 1
"""PACKET_MR_MULTICAST, PACKET_MR_PROMISC."""
_ATTACH_FILTER: Final = 26
"""SO_ATTACH_FILTER (socket(7))."""
_RECEIVE_BUFFER: Final = 33
"""SO_RCVBUFFORCE (socket(7))."""
_BUFFER_BYTES: Final = 4 << 20
"""What may wait while the process is busy: a thousand frames and more, as the kernel counts their memory."""
_AUX: Final = struct.Struct("IIIHHHH")
"""struct tpacket_auxdata: status, length, captured, two offsets, tag, tag protocol."""
_VLAN_VALID, _VLAN_PROTOCOL_VALID = 0x10, 0x40
_LONGEST_FRAME: Final = 65_536

_LOAD_HALF, _LOAD_BYTE, _IF_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
"""BPF_LD|BPF_H|BPF_ABS, BPF_LD|BPF_B|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K (linux/bpf_common.h)."""
_WHOLE, _NOTHING = (_RETURN, 0, 0, _LONGEST_FRAME), (_RETURN, 0, 0, 0)
NEIGHBOURS: Final[tuple[Instruction, ...]] = (
    (_LOAD_HALF, 0, 0, 12),
    (_IF_EQUAL, 5, 0, 0x0806),
    (_IF_EQUAL, 0, 5, 0x86DD),
    (_LOAD_BYTE, 0, 0, 20),
    (_IF_EQUAL, 0, 3, 58),
    (_LOAD_BYTE, 0, 0, 54),
    (_IF_EQUAL, 0, 1, 136),
    _WHOLE,
    _NOTHING,
)
"""ARP, and neighbour advertisements without extension headers."""


def only_ethertype(ethertype: int) -> tuple[Instruction, ...]:
    """Frames of one EtherType; of those with a tag, the one behind it."""
    return ((_LOAD_HALF, 0, 0, 12), (_IF_EQUAL, 0, 1, ethertype), _WHOLE, _NOTHING)


def open_whole(interface: str) -> socket.socket:
    """All that goes by, whoever it is for."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    _join(opened, interface, _PROMISCUOUS, b"")
    return _bound(opened, interface)


def open_filtered(interface: str, program: Iterable[Instruction], group: bytes = b"") -> socket.socket:
    """What the filter lets through of what the interface takes; it takes what is for the group besides."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    code = array("B", b"".join(struct.pack("HBBI", *each) for each in program))
    address, length = code.buffer_info()
    opened.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", length // 8, address))
    opened.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, _BUFFER_BYTES)
    if group:
        _join(opened, interface, _GROUP, group)
    return _bound(opened, interface)


def receive(opened: socket.socket) -> bytes | None:
    """The next frame as it was on the path; None for one that this guest sent itself."""
    frame: bytes
    frame, beside, _, address = opened.recvmsg(_LONGEST_FRAME, socket.CMSG_SPACE(_AUX.size))
    if address[2] == _OUTGOING:
        return None
    for level, kind, data in beside:
        if (level, kind) == (_SOL_PACKET, _AUXDATA):
            frame = _tagged(frame, data)
    return frame


def waiting(opened: socket.socket, most: int) -> Iterator[bytes]:
    """The frames that are there now, as `receive` has them."""
    for _ in range(most):
        try:
            frame = receive(opened)
        except BlockingIOError:
            return
        if frame is not None:
            yield frame


def lost(opened: socket.socket) -> int:
    """Frames that found the socket full since this was last asked."""
    _, dropped = struct.unpack("II", opened.getsockopt(_SOL_PACKET, _STATISTICS, 8))
    return int(dropped)


def _join(opened: socket.socket, interface: str, kind: int, address: bytes) -> None:
    request = struct.pack("iHH8s", socket.if_nametoindex(interface), kind, len(address), address)
    opened.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)


def _bound(opened: socket.socket, interface: str) -> socket.socket:
    opened.setsockopt(_SOL_PACKET, _AUXDATA, 1)
    opened.bind((interface, _ALL_PROTOCOLS))
    opened.setblocking(False)
    return opened


def _tagged(frame: bytes, beside: bytes) -> bytes:
    status: int
    tag: int
    protocol: int
    status, _, _, _, _, tag, protocol = _AUX.unpack(beside[: _AUX.size])
    if not status & _VLAN_VALID:
        return frame
    kind = protocol if status & _VLAN_PROTOCOL_VALID else 0x8100
    return frame[:12] + kind.to_bytes(2, "big") + tag.to_bytes(2, "big") + frame[12:]

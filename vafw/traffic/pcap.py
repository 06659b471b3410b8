"""Reads and writes captures: pcap and pcapng, one frame at a time, whatever the size of the file.

Reads both byte orders, micro- and nanoseconds, several interfaces and sections, and either format behind gzip; writes
pcapng with named interfaces and a comment for each packet. Only Ethernet is taken. Blocks that carry no packet and
options that are not needed are skipped over. Formats: IETF draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

What is wrong with a file is said with the byte offset at which it was met (behind gzip: of the unpacked bytes).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import IO, Final, Literal, TypeAlias, cast

from vafw.errors import InvalidDocument

ETHERNET: Final = 1
"""LINKTYPE_ETHERNET."""
LONGEST_FRAME: Final = 262144
"""Bytes of a captured frame at most, as capture tools have it."""

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OBSOLETE_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_LONGEST_BLOCK: Final = 16 * 1024 * 1024

_OPTION_END: Final = 0
_OPTION_COMMENT: Final = 1
_OPTION_NAME: Final = 2
_OPTION_RESOLUTION: Final = 9

_Order: TypeAlias = Literal["little", "big"]
_CLASSIC: Final[dict[bytes, tuple[_Order, int]]] = {
    b"\xd4\xc3\xb2\xa1": ("little", 10**6),
    b"\xa1\xb2\xc3\xd4": ("big", 10**6),
    b"\x4d\x3c\xb2\xa1": ("little", 10**9),
    b"\xa1\xb2\x3c\x4d": ("big", 10**9),
}
"""Magic of pcap, then the byte order and the units of a second."""


class InvalidCapture(InvalidDocument):
    """A file that is no capture, or a broken one."""


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame of a capture."""

    time_ns: int
    """Nanoseconds since 1970, or since whatever moment the capture counts from."""
    data: bytes
    """The frame without FCS."""
    interface: str = ""
    """Name of the interface it was captured on; empty where the file names none."""
    comment: str = ""

    @property
    def time_s(self) -> float:
        """The time in seconds."""
        return self.time_ns / 1e9


@dataclass(slots=True)
class _Interface:
    name: str
    units: int
    """Units of a second in which times are given."""
    length: int
    """Bytes of a frame at most."""


def read_capture(path: Path) -> Iterator[CapturedFrame]:
    """The frames of a pcap or pcapng file in order, read as they are asked for.

    Raises InvalidCapture where the file is none, is broken or holds something else than Ethernet.
    """
    with path.open("rb") as opened:
        head = opened.read(2)
        opened.seek(0)
        if head == b"\x1f\x8b":
            with gzip.open(opened) as unpacked:
                yield from _read(_Source(str(path), cast(IO[bytes], unpacked)))
        else:
            yield from _read(_Source(str(path), opened))


@dataclass(slots=True)
class _Source:
    """A file and how far it was read."""

    name: str
    file: IO[bytes]
    offset: int = 0

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; InvalidCapture where the file ends before."""
        data = self.take_if_any(count, what)
        if count and not data:
            raise self.error(self.offset, f"the file ends before the {what}")
        return data

    def take_if_any(self, count: int, what: str) -> bytes:
        """The same, but empty at the end of the file."""
        try:
            data = self.file.read(count)
        except (OSError, EOFError) as error:
            raise self.error(self.offset, f"the file cannot be unpacked: {error}") from error
        if data and len(data) < count:
            raise self.error(self.offset, f"the file ends inside the {what}: {count} bytes were expected")
        self.offset += len(data)
        return data

    def error(self, offset: int, message: str) -> InvalidCapture:
        """The error to raise about what stands at `offset`."""
        return InvalidCapture(f"{self.name}: byte {offset}: {message}")


def _read(source: _Source) -> Iterator[CapturedFrame]:
    magic = source.take(4, "magic number")
    if magic in _CLASSIC:
        return _read_classic(source, *_CLASSIC[magic])
    if int.from_bytes(magic, "big") == _SECTION:
        return _read_blocks(source)
    raise source.error(0, f"a capture must begin with the magic number of pcap or pcapng, not {magic.hex()}")


def _read_classic(source: _Source, order: _Order, units: int) -> Iterator[CapturedFrame]:
    sign = "<" if order == "little" else ">"
    header = source.take(20, "file header")
    major, _, _, _, _, link = Struct(f"{sign}HHiIII").unpack(header)
    if major != 2:
        raise source.error(4, f"the version of pcap must be 2, not {major}")
    if link & 0xFFFF != ETHERNET:
        raise source.error(20, f"the link type must be 1 (Ethernet), not {link & 0xFFFF}")
    record = Struct(f"{sign}IIII")
    while head := source.take_if_any(16, "packet header"):
        at = source.offset - 16
        seconds, fraction, captured, original = record.unpack(head)
        if captured > LONGEST_FRAME:
            raise source.error(at + 8, f"a frame must have at most {LONGEST_FRAME} bytes, not {captured}")
        if captured < original:
            raise source.error(at + 8, f"the frame was cut at {captured} of {original} bytes: capture whole frames")
        data = source.take(captured, "frame")
        yield CapturedFrame(seconds * 10**9 + fraction * (10**9 // units), data)


@dataclass(slots=True)
class _Section:
    """What the blocks of a section are read by."""

    order: _Order
    interfaces: list[_Interface] = field(default_factory=list)

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, self.order)


def _read_blocks(source: _Source) -> Iterator[CapturedFrame]:
    section = _begin_section(source)
    while head := source.take_if_any(8, "block header"):
        at = source.offset - 8
        if int.from_bytes(head[:4], "big") == _SECTION:
            source_rest = head[4:]
            section = _begin_section(source, source_rest)
            continue
        kind, length = section.number(head[:4]), section.number(head[4:])
        body = _take_body(source, section, at, length)
        if kind == _INTERFACE:
            section.interfaces.append(_interface(source, section, at, body))
        elif kind == _ENHANCED_PACKET:
            yield _enhanced(source, section, at, body)
        elif kind == _SIMPLE_PACKET:
            yield _simple(source, section, at, body)
        elif kind == _OBSOLETE_PACKET:
            raise source.error(at, "the obsolete packet block is not read: convert the file with a current tool")


def _take_body(source: _Source, section: _Section, at: int, length: int) -> bytes:
    if length < 12 or length % 4 or length > _LONGEST_BLOCK:
        raise source.error(at + 4, f"a block's length must be a multiple of 4 from 12 to 16 MiB, not {length}")
    body = source.take(length - 12, "block")
    trailer = section.number(source.take(4, "second length of the block"))
    if trailer != length:
        raise source.error(source.offset - 4, f"the block's second length must be {length}, not {trailer}")
    return body


def _begin_section(source: _Source, length: bytes = b"") -> _Section:
    at = source.offset - 4 - len(length)
    length = length or source.take(4, "length of the section header")
    magic = source.take(4, "byte-order magic")
    orders: tuple[_Order, ...] = ("little", "big")
    for order in orders:
        if int.from_bytes(magic, order) == _BYTE_ORDER_MAGIC:
            section = _Section(order)
            break
    else:
        raise source.error(at + 8, f"the byte-order magic must be 1a2b3c4d in either order, not {magic.hex()}")
    total = section.number(length)
    if total < 28 or total % 4 or total > _LONGEST_BLOCK:
        raise source.error(at + 4, f"a section header's length must be a multiple of 4 from 28 on, not {total}")
    body = source.take(total - 16, "section header")
    source.take(4, "second length of the section header")
    major = section.number(body[:2])
    if major != 1:
        raise source.error(at + 12, f"the version of pcapng must be 1, not {major}")
    return section


def _interface(source: _Source, section: _Section, at: int, body: bytes) -> _Interface:
    if len(body) < 8:
        raise source.error(at, "an interface description must have 8 bytes before its options")
    link = section.number(body[:2])
    if link != ETHERNET:
        raise source.error(at + 8, f"the link type must be 1 (Ethernet), not {link}")
    found = _Interface("", 10**6, section.number(body[4:8]))
    for code, value in _options(source, section, at + 16, body[8:]):
        if code == _OPTION_NAME:
            found.name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif code == _OPTION_RESOLUTION and len(value) == 1:
            power = value[0] & 0x7F
            found.units = 1 << power if value[0] & 0x80 else 10 ** min(power, 18)
    return found


def _enhanced(source: _Source, section: _Section, at: int, body: bytes) -> CapturedFrame:
    if len(body) < 20:
        raise source.error(at, "an enhanced packet block must have 20 bytes before its packet")
    number, high, low, captured, original = (section.number(body[i : i + 4]) for i in range(0, 20, 4))
    if number >= len(section.interfaces):
        raise source.error(at + 8, f"the packet is of interface {number}, which the section does not describe")
    data = _frame(source, at + 20, body[20:], captured, original)
    interface = section.interfaces[number]
    options = body[20 + (captured + 3) // 4 * 4 :]
    comments = [
        value.decode("utf-8", "replace")
        for code, value in _options(source, section, at + 28 + (captured + 3) // 4 * 4, options)
        if code == _OPTION_COMMENT
    ]
    time_ns = (high << 32 | low) * 10**9 // interface.units
    return CapturedFrame(time_ns, data, interface.name, "\n".join(comments))


def _simple(source: _Source, section: _Section, at: int, body: bytes) -> CapturedFrame:
    if not section.interfaces or len(body) < 4:
        raise source.error(at, "a simple packet block must follow an interface description")
    original = section.number(body[:4])
    limit = section.interfaces[0].length or original
    data = _frame(source, at + 8, body[4:], min(original, limit), original)
    return CapturedFrame(0, data, section.interfaces[0].name)


def _frame(source: _Source, at: int, rest: bytes, captured: int, original: int) -> bytes:
    if captured > min(len(rest), LONGEST_FRAME):
        raise source.error(at, f"the packet must fit its block, but has {captured} bytes")
    if captured < original:
        raise source.error(at, f"the frame was cut at {captured} of {original} bytes: capture whole frames")
    return rest[:captured]


def _options(source: _Source, section: _Section, at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        code, length = section.number(data[offset : offset + 2]), section.number(data[offset + 2 : offset + 4])
        if code == _OPTION_END:
            return
        if offset + 4 + length > len(data):
            raise source.error(at + offset, f"option {code} must fit its block, but has {length} bytes")
        yield code, data[offset + 4 : offset + 4 + length]
        offset += 4 + (length + 3) // 4 * 4


class CaptureWriter:
    """Writes one pcapng file: interfaces as their names first occur, times in nanoseconds."""

    def __init__(self, file: IO[bytes], *, application: str = "vafw") -> None:
        """Begin the file; `application` is named as what wrote it."""
        self._file = file
        self._numbers: dict[str, int] = {}
        body = _BYTE_ORDER_MAGIC.to_bytes(4, "little") + b"\1\0\0\0" + b"\xff" * 8
        self._block(_SECTION, body + _option(4, application.encode()) + bytes(4))

    def write(self, frame: CapturedFrame) -> None:
        """Append one frame."""
        number = self._numbers.get(frame.interface)
        if number is None:
            number = self._describe(frame.interface)
        length = len(frame.data).to_bytes(4, "little")
        time = frame.time_ns & 0xFFFFFFFFFFFFFFFF
        body = (
            number.to_bytes(4, "little")
            + (time >> 32).to_bytes(4, "little")
            + (time & 0xFFFFFFFF).to_bytes(4, "little")
            + length
            + length
            + _padded(frame.data)
        )
        if frame.comment:
            body += _option(_OPTION_COMMENT, frame.comment.encode()) + bytes(4)
        self._block(_ENHANCED_PACKET, body)

    def _describe(self, name: str) -> int:
        self._numbers[name] = number = len(self._numbers)
        options = _option(_OPTION_NAME, name.encode()) if name else b""
        options += _option(_OPTION_RESOLUTION, b"\x09") + bytes(4)
        self._block(_INTERFACE, ETHERNET.to_bytes(4, "little") + LONGEST_FRAME.to_bytes(4, "little") + options)
        return number

    def _block(self, kind: int, body: bytes) -> None:
        length = (len(body) + 12).to_bytes(4, "little")
        self._file.write(kind.to_bytes(4, "little") + length + body + length)


@contextmanager
def writing_capture(path: Path) -> Iterator[CaptureWriter]:
    """A writer of a new pcapng file at `path`, closed at the end of the block."""
    with path.open("wb") as file:
        yield CaptureWriter(file)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    value = value[:0xFFFF]
    return code.to_bytes(2, "little") + len(value).to_bytes(2, "little") + _padded(value)

"""The crypto-agile event log: what was measured into which PCR, in order, with one digest for each bank.

Format: TCG PC Client Platform Firmware Profile, "TCG_EfiSpecIdEvent" for the first record, which is in the older form,
and "TCG_PCR_EVENT2" for all others; little-endian. TXT points at such a log from its heap ("heap event log pointer
element 2.1").

Not a judgement: an event says what its writer wants it to say until a quote covers its digest (`vafw.attest`). The hard
part is refusing: a log that leaves an algorithm out of an event would let two readers replay different histories, so
every event must carry every algorithm that the first record names, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vafw.tcg.algorithms import DIGEST_SIZES, SHA1, SHA256, algorithm_name
from vafw.tcg.events import EventType, Replay, event_name, replay_of
from vafw.wire import FormatError, Reader

STRUCTURE: Final = "event log"
PCR_COUNT: Final = 24
_SIGNATURE: Final = b"Spec ID Event03\0"
_OLD_FORM_DIGEST: Final = bytes(20)
_MOST_ALGORITHMS: Final = 16


@dataclass(frozen=True, slots=True)
class Event:
    """One measurement."""

    pcr: int
    event_type: int
    digests: Mapping[int, bytes]
    """By algorithm; what the PCR of each bank was extended with."""
    data: bytes = b""

    def __str__(self) -> str:
        return f"PCR {self.pcr} {event_name(self.event_type)}"


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What the first record says of the whole log ("TCG_EfiSpecIdEvent")."""

    sizes: Mapping[int, int]
    """Bytes of a digest by algorithm, in the order of the record."""
    platform_class: int = 0
    """0 client, 1 server."""
    version: tuple[int, int, int] = (2, 0, 0)
    """Major, minor, errata of the profile."""
    uintn_size: int = 2
    """1: UINTN has 32 bits; 2: 64 bits."""
    vendor: bytes = b""

    @classmethod
    def of(cls, algorithms: Iterable[int]) -> LogHeader:
        """The header that vafw writes for these algorithms."""
        return cls({algorithm: DIGEST_SIZES[algorithm] for algorithm in algorithms})


def encode_header(algorithms: Iterable[int] = (SHA256, SHA1)) -> bytes:
    """The first record of a log that carries these algorithms; append events with `encode_event`."""
    sizes = LogHeader.of(algorithms).sizes
    body = b"".join(
        (
            _SIGNATURE,
            bytes(4),  # platform class: client
            bytes((0, 2, 0, 2)),  # version minor, major, errata; UINTN of 64 bits
            len(sizes).to_bytes(4, "little"),
            *(alg.to_bytes(2, "little") + size.to_bytes(2, "little") for alg, size in sizes.items()),
            bytes(1),  # no vendor information
        )
    )
    fields = (0, int(EventType.EV_NO_ACTION))
    head = b"".join(each.to_bytes(4, "little") for each in fields)
    return head + _OLD_FORM_DIGEST + len(body).to_bytes(4, "little") + body


def encode_event(event: Event) -> bytes:
    """One record; the digests in the order of `event.digests`."""
    return b"".join(
        (
            event.pcr.to_bytes(4, "little"),
            event.event_type.to_bytes(4, "little"),
            len(event.digests).to_bytes(4, "little"),
            *(algorithm.to_bytes(2, "little") + value for algorithm, value in event.digests.items()),
            len(event.data).to_bytes(4, "little"),
            event.data,
        )
    )


def encode_log(events: Iterable[Event], algorithms: Iterable[int] = (SHA256, SHA1)) -> bytes:
    """A whole log; FormatError where an event does not carry exactly these algorithms."""
    wanted = tuple(algorithms)
    records = []
    for position, event in enumerate(events, start=1):
        if set(event.digests) != set(wanted):
            raise FormatError(STRUCTURE, f"event #{position} must carry {_names(wanted)}, not {_names(event.digests)}")
        records.append(encode_event(event))
    return encode_header(wanted) + b"".join(records)


def decode_log(data: bytes) -> tuple[Event, ...]:
    """The events after the header, in order; FormatError names the byte that is wrong."""
    return decode_log_with_header(data)[1]


def decode_log_with_header(data: bytes) -> tuple[LogHeader, tuple[Event, ...]]:
    """The header and the events."""
    reader = Reader(data, STRUCTURE, "little")
    header = _header(reader)
    events = []
    while reader.remaining:
        events.append(_event(reader, header.sizes))
    return header, tuple(events)


def _header(reader: Reader) -> LogHeader:
    if (pcr := reader.u32("the PCR of the first event")) != 0:
        raise reader.error(f"the first event must be of PCR 0, not {pcr}", at=0)
    if (event_type := reader.u32("the type of the first event")) != EventType.EV_NO_ACTION:
        raise reader.error(f"the first event must be EV_NO_ACTION (3), not {event_name(event_type)}", at=4)
    if reader.take(20, "the digest of the first event") != _OLD_FORM_DIGEST:
        raise reader.error("the digest of the first event must be zero", at=8)
    size = reader.u32("the size of the first event")
    body_start = reader.offset
    body = Reader(reader.take(size, "the first event"), STRUCTURE, "little")
    try:
        return _specification_event(body)
    except FormatError as error:
        raise reader.error(error.problem, at=body_start + (error.offset or 0)) from error


def _specification_event(body: Reader) -> LogHeader:
    if (signature := body.take(16, "the signature")) != _SIGNATURE:
        raise body.error(f"the signature must be {_SIGNATURE!r}, not {signature!r}", at=0)
    platform_class = body.u32("the platform class")
    minor, major, errata, uintn_size = body.take(4, "the version")
    if (major, minor) != (2, 0):
        raise body.error(f"the version must be 2.0, not {major}.{minor}", at=20)
    if uintn_size not in (1, 2):
        raise body.error(f"the size of UINTN must be 1 or 2, not {uintn_size}", at=23)
    sizes = _sizes(body)
    vendor = body.take(body.u8("the size of the vendor information"), "the vendor information")
    body.finish()
    return LogHeader(sizes, platform_class, (major, minor, errata), uintn_size, vendor)


def _sizes(body: Reader) -> dict[int, int]:
    start = body.offset
    count = body.u32("the number of algorithms")
    if not 1 <= count <= _MOST_ALGORITHMS:
        raise body.error(f"the number of algorithms must be 1 to {_MOST_ALGORITHMS}, not {count}", at=start)
    sizes: dict[int, int] = {}
    for _ in range(count):
        start = body.offset
        algorithm, size = body.u16("an algorithm"), body.u16("the size of a digest")
        if algorithm in sizes:
            raise body.error(f"{algorithm_name(algorithm)} must stand in the list once", at=start)
        if size != (known := DIGEST_SIZES.get(algorithm, size)) or not size:
            raise body.error(
                f"a digest of {algorithm_name(algorithm)} must have {known or 'some'} bytes, not {size}", at=start
            )
        sizes[algorithm] = size
    return sizes


def _event(reader: Reader, sizes: Mapping[int, int]) -> Event:
    start = reader.offset
    pcr, event_type = reader.u32("the PCR of an event"), reader.u32("the type of an event")
    if pcr >= PCR_COUNT and replay_of(event_type) is not Replay.NOTHING:
        raise reader.error(f"the PCR of an event must be 0 to {PCR_COUNT - 1}, not {pcr}", at=start)
    digests = _digests(reader, sizes)
    data = reader.take(reader.u32("the size of an event's data"), "an event's data")
    return Event(pcr, event_type, digests, data)


def _digests(reader: Reader, sizes: Mapping[int, int]) -> dict[int, bytes]:
    start = reader.offset
    count = reader.u32("the number of digests")
    if count != len(sizes):
        raise reader.error(f"an event must carry {_names(sizes)}, not {count} digests", at=start)
    digests: dict[int, bytes] = {}
    for _ in range(count):
        start = reader.offset
        algorithm = reader.u16("the algorithm of a digest")
        if algorithm not in sizes or algorithm in digests:
            raise reader.error(
                f"an event must carry {_names(sizes)} once each, not {algorithm_name(algorithm)}", at=start
            )
        digests[algorithm] = reader.take(sizes[algorithm], f"the {algorithm_name(algorithm)} digest")
    return digests


def _names(algorithms: Iterable[int]) -> str:
    return " and ".join(algorithm_name(each) for each in algorithms) or "no digest"

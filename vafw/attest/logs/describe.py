"""One event as it is shown: decoded by its type, and held against its own digests.

A log lies where a digest is not that of the data although it must be, where data is not what its type holds, and where
an event that measures nothing carries a digest. What an event's digests need not cover (an image, a file, a blob) is
described and not judged: only a reference value can say something of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from vafw.attest.logs import firmware, launch
from vafw.attest.logs.model import Entry
from vafw.attest.logs.variable import Variable
from vafw.tcg.algorithms import algorithm_name, computable, digest, hash_sequence_value
from vafw.tcg.eventlog import Event
from vafw.tcg.events import EventType, Replay, event_name, replay_of
from vafw.wire import FormatError

_DECODERS: Final = {**firmware.DECODERS, **launch.DECODERS}
_COVERED: Final = frozenset(
    {
        EventType.EV_SEPARATOR,
        EventType.EV_ACTION,
        EventType.EV_S_CRTM_VERSION,
        EventType.EV_EFI_ACTION,
        EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EV_EFI_VARIABLE_BOOT2,
        EventType.EV_EFI_VARIABLE_AUTHORITY,
        EventType.EV_EFI_GPT_EVENT,
        EventType.EV_EFI_GPT_EVENT2,
        EventType.EV_EFI_SPDM_DEVICE_POLICY,
        EventType.EV_EFI_SPDM_DEVICE_AUTHORITY,
        EventType.TXT_LCP_CONTROL_HASH,
        EventType.TXT_OSSINITDATA_CAP_HASH,
    }
)
"""Types whose digests are those of the data."""


def entries(events: Iterable[Event]) -> tuple[Entry, ...]:
    """Every event, described and held against itself."""
    return tuple(_entry(position, event) for position, event in enumerate(events, start=1))


def _entry(position: int, event: Event) -> Entry:
    lies = list(_lies(event))
    try:
        description = _DECODERS.get(event.event_type, firmware.opaque)(event.data)
    except FormatError as error:
        description = firmware.opaque(event.data)
        lies.append(f"the data is not what an event of this type holds: {error}")
    return Entry(position, event_name(event.event_type), event, description, tuple(lies))


def _lies(event: Event) -> Iterator[str]:
    if replay_of(event.event_type) is Replay.NOTHING:
        if event.event_type == EventType.EV_NO_ACTION and any(any(value) for value in event.digests.values()):
            yield "an event that measures nothing must have digests of zeros"
        return
    hashed = _hashed(event)
    if not hashed:
        return
    wrong = [
        algorithm_name(bank)
        for bank, value in event.digests.items()
        if computable(bank) and all(value != compute(bank) for compute in hashed)
    ]
    if wrong:
        yield f"the {' and '.join(wrong)} digest is not that of the data"


def _hashed(event: Event) -> tuple[Callable[[int], bytes], ...]:
    """The digests that an event may have, as functions of the bank; none where its data is not what is hashed."""
    if event.event_type == EventType.TXT_HASH_START:
        return (lambda bank: hash_sequence_value(bank, event.data),)
    if event.event_type == EventType.EV_EFI_VARIABLE_BOOT:
        return _whole(event.data), *_content(event.data)
    return (_whole(event.data),) if event.event_type in _COVERED else ()


def _whole(data: bytes) -> Callable[[int], bytes]:
    return lambda bank: digest(bank, data)


def _content(data: bytes) -> tuple[Callable[[int], bytes], ...]:
    """Boot variables were measured without name and GUID for long, and still are by much firmware."""
    try:
        content = Variable.decode(data).content
    except FormatError:
        return ()
    return (_whole(content),)

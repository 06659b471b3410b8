"""Wire formats of TPM quotes and TCG event logs, which model, chip and verifier share."""

from vafw.tcg.algorithms import SHA1, SHA256
from vafw.tcg.attest import ClockInfo, QuoteAttest
from vafw.tcg.eventlog import Event, decode_log, encode_event, encode_header, encode_log
from vafw.tcg.events import EventType, event_name
from vafw.tcg.replay import replay
from vafw.tcg.selection import LAUNCH_PCRS, LAUNCH_SELECTION, PcrSelection
from vafw.wire import FormatError

__all__ = [
    "Event",
    "EventType",
    "event_name",
    "encode_log",
    "encode_header",
    "encode_event",
    "decode_log",
    "replay",
    "QuoteAttest",
    "ClockInfo",
    "PcrSelection",
    "LAUNCH_PCRS",
    "LAUNCH_SELECTION",
    "SHA256",
    "SHA1",
    "FormatError",
]

"""Follows one TCP connection through its states and windows, and says of each segment whether it belongs.

After what the Linux connection tracker does (its default settings: `nf_conntrack_tcp_loose=1`, not liberal), so that
this firewall and the kernel's pass the same segments; `tests/traffic/test_against_nftables.py` holds them together.
The consequences worth knowing: a connection may be picked up in its middle by an ACK, never by a SYN/ACK, FIN or RST;
a SYN into an open connection passes but changes nothing until the peer agrees; a RST must be exactly in place.

    NONE ──SYN──▶ SYN_SENT ──SYN/ACK──▶ SYN_RECV ──ACK──▶ ESTABLISHED ──FIN──▶ FIN_WAIT ──ACK──▶ CLOSE_WAIT
     │               └─SYN from both─▶ SYN_SENT2               ▲                  │ FIN             │ FIN
     └──ACK (picked up in the middle)──────────────────────────┘                  └──▶ LAST_ACK ◀───┘
    any ──RST in place──▶ CLOSE                                                            └─ACK─▶ TIME_WAIT

The hard part is `_in_window`: the four bounds of G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter",
kept for both ends at once. Sequence numbers wrap, so they are compared by the sign of their 32-bit difference.
Longer than a module should be, because table, exceptions and windows change the same state and are read together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

from vafw.traffic.build import segment_end
from vafw.traffic.frame import ACK, FIN, RST, SYN, Frame

ORIGINAL: Final = 0
REPLY: Final = 1
"""Direction of a packet: as the first of its connection went, or against it."""

_MASK: Final = 0xFFFFFFFF
_SIGN: Final = 0x80000000
_LEAST_ACK_WINDOW: Final = 66000
"""How far behind an acknowledgement may always be."""
_RETRANSMISSIONS: Final = 3
"""After so many of the same segment the connection times out sooner."""


class TcpState(IntEnum):
    """State of a connection as seen from between its ends; the last two are verdicts of the table, no states."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9
    IGNORE = 10
    INVALID = 11


class Segment(IntEnum):
    """What a segment is to the state table, by its most telling flag."""

    SYN = 0
    SYN_ACK = 1
    FIN = 2
    ACK = 3
    RST = 4
    NONE = 5


class Judgement(Enum):
    """What a segment is to its connection."""

    BELONGS = "belongs"
    INVALID = "invalid"
    REOPENS = "reopens"
    """It opens a new connection over a closed one: forget that and look again."""
    ENDS = "ends"
    """It belongs and is the last: forget the connection."""


_LETTERS: Final = {
    "-": TcpState.INVALID,
    "i": TcpState.IGNORE,
    "s": TcpState.SYN_SENT,
    "2": TcpState.SYN_SENT2,
    "r": TcpState.SYN_RECV,
    "e": TcpState.ESTABLISHED,
    "f": TcpState.FIN_WAIT,
    "w": TcpState.CLOSE_WAIT,
    "l": TcpState.LAST_ACK,
    "t": TcpState.TIME_WAIT,
    "c": TcpState.CLOSE,
}


def _row(letters: str) -> tuple[TcpState, ...]:
    return tuple(_LETTERS[letter] for letter in letters)


TRANSITIONS: Final = (
    (  # columns: none, syn-sent, syn-recv, established, fin-wait, close-wait, last-ack, time-wait, close, syn-sent2
        _row("ssiiiiiss2"),  # SYN
        _row("--r-----" + "-r"),  # SYN/ACK
        _row("--fflll" + "tc-"),  # FIN
        _row("e-eewwttc-"),  # ACK
        _row("-ccccccccc"),  # RST
    ),
    (
        _row("-2-----s-2"),  # SYN
        _row("-riiiiiiir"),  # SYN/ACK
        _row("--fflll" + "tc-"),  # FIN
        _row("-irewwttci"),  # ACK
        _row("-ccccccccc"),  # RST
    ),
)
"""Next state by direction, segment and state."""

TIMEOUTS_S: Final = {
    TcpState.SYN_SENT: 120,
    TcpState.SYN_RECV: 60,
    TcpState.ESTABLISHED: 432000,
    TcpState.FIN_WAIT: 120,
    TcpState.CLOSE_WAIT: 60,
    TcpState.LAST_ACK: 30,
    TcpState.TIME_WAIT: 120,
    TcpState.CLOSE: 10,
    TcpState.SYN_SENT2: 120,
}
"""Seconds without a packet after which a connection is forgotten (nf_conntrack-sysctl, defaults)."""
UNACKNOWLEDGED_S: Final = 300
"""The same while data waits for an acknowledgement, and after several retransmissions."""

_CLOSING: Final = frozenset(
    {TcpState.FIN_WAIT, TcpState.LAST_ACK, TcpState.TIME_WAIT, TcpState.CLOSE, TcpState.CLOSE_WAIT}
)


@dataclass(slots=True)
class End:
    """What one end has sent and may be sent."""

    end: int = 0
    """Highest sequence number sent, plus one."""
    max_end: int = 0
    """Highest sequence number it may send."""
    max_window: int = 0
    """Largest window it offered; 0: nothing seen of it yet."""
    max_ack: int | None = None
    """Highest acknowledgement it sent."""
    scale: int = 0
    """Shift of the windows it offers."""
    scales: bool = False
    """It sent the window scale option."""
    sacks: bool = False
    """It permits selective acknowledgements."""
    liberal: bool = False
    """Picked up in the middle, its window scale unknown: nothing is out of window."""
    closed_first: bool = False
    """Its FIN began the closing."""
    unacknowledged: bool = False
    """It has sent data that is not acknowledged."""


@dataclass(slots=True)
class _Last:
    """The segment before, by which resets, retransmissions and ignored SYNs are told."""

    segment: Segment = Segment.NONE
    direction: int = ORIGINAL
    sequence: int = 0
    acknowledgement: int = 0
    end: int = 0
    window: int = 0
    ignored_syn: End = field(default_factory=End)
    challenge: bool = False
    simultaneous: bool = False


def segment_of(flags: int) -> Segment:
    """What the flags make a segment be."""
    if flags & RST:
        return Segment.RST
    if flags & SYN:
        return Segment.SYN_ACK if flags & ACK else Segment.SYN
    if flags & FIN:
        return Segment.FIN
    return Segment.ACK if flags & ACK else Segment.NONE


def _is_before(left: int, right: int) -> bool:
    return (left - right) & _SIGN != 0


class TcpTracker:
    """One connection; `begin` it with its first segment, then `judge` every one."""

    __slots__ = ("_ends", "_last", "_retransmissions", "assured", "seen_reply", "state", "timeout_s")

    def __init__(self) -> None:
        self.state = TcpState.NONE
        self.seen_reply = False
        """Whether a segment that belongs came back."""
        self.assured = False
        """Whether the handshake is complete; such a connection is not evicted."""
        self.timeout_s: float = 0
        """Seconds from the last segment on after which the connection is forgotten."""
        self._ends = (End(), End())
        self._last = _Last()
        self._retransmissions = 0

    @property
    def is_established(self) -> bool:
        """Whether both ends agreed and none is closing."""
        return self.state is TcpState.ESTABLISHED and self.assured

    def begin(self, frame: bytes, packet: Frame) -> bool:
        """Take up a connection with this segment; False where it cannot begin one."""
        state = TRANSITIONS[ORIGINAL][segment_of(packet.flags)][TcpState.NONE]
        if state is TcpState.INVALID:
            return False
        sender, receiver = self._ends
        sender.end = sender.max_end = segment_end(packet)
        sender.max_window = packet.window or 1
        if state is TcpState.SYN_SENT:
            _read_syn_options(frame, packet, sender)
        else:
            sender.max_end = sender.end + sender.max_window & _MASK
            sender.sacks = receiver.sacks = sender.liberal = receiver.liberal = True
        return True

    def judge(self, frame: bytes, packet: Frame, direction: int) -> Judgement:
        """Whether the segment belongs; where it does, it moves the connection on."""
        segment = segment_of(packet.flags)
        old = self.state
        new = TRANSITIONS[direction][segment][old]
        if new is TcpState.ESTABLISHED and old is new:
            pass
        elif new is TcpState.INVALID:
            return Judgement.INVALID
        elif new is TcpState.IGNORE or (new is TcpState.SYN_SENT and old >= TcpState.TIME_WAIT):
            if new is TcpState.SYN_SENT and self._may_reopen(direction):
                return Judgement.REOPENS
            if not self._agrees_with_ignored_syn(packet, segment, direction):
                self._note_ignored(frame, packet, segment, direction)
                return Judgement.BELONGS
            old, new = TcpState.SYN_SENT, TcpState.SYN_RECV
        elif new is TcpState.CLOSE and segment is Segment.RST:
            verdict = self._judge_reset(packet, direction)
            if verdict is None:
                return Judgement.INVALID
            in_place, new = verdict
            if in_place:
                return self._move(segment, direction, old, new)
        else:
            changed = self._special_case(segment, direction, old, new)
            if changed is None:
                return Judgement.BELONGS
            new = changed
        in_window = self._in_window(frame, packet, direction)
        if in_window is None:
            return Judgement.BELONGS
        if not in_window:
            self._note_invalid(segment, direction)
            return Judgement.INVALID
        return self._move(segment, direction, old, new)

    def close(self) -> None:
        """Take note that a rejection was answered with a RST in the peer's name: the connection is over."""
        self.state = TcpState.CLOSE
        self.timeout_s = TIMEOUTS_S[TcpState.CLOSE]

    def extend(self, direction: int, end: int) -> None:
        """Take note that a later fragment of a segment brought data up to sequence number `end`."""
        sender = self._ends[direction]
        if _is_before(sender.end, end):
            sender.end = end & _MASK
            sender.unacknowledged = True

    def _may_reopen(self, direction: int) -> bool:
        last = self._last
        return any(end.closed_first for end in self._ends) or (
            last.direction == direction and last.segment is Segment.RST
        )

    def _agrees_with_ignored_syn(self, packet: Frame, segment: Segment, direction: int) -> bool:
        """Whether the SYN/ACK answers a SYN that was let through unbelieved; then both ends begin anew."""
        last = self._last
        if (
            segment is not Segment.SYN_ACK
            or last.segment is not Segment.SYN
            or last.direction == direction
            or packet.acknowledgement != last.end
        ):
            return False
        opener = End(last.end, last.end, last.window or 1)
        opener.scale, opener.scales = last.ignored_syn.scale, last.ignored_syn.scales
        opener.sacks = last.ignored_syn.sacks
        last.challenge = False
        answerer = End(liberal=self._ends[direction].liberal)
        self._ends = (opener, answerer) if last.direction == ORIGINAL else (answerer, opener)
        return True

    def _note_ignored(self, frame: bytes, packet: Frame, segment: Segment, direction: int) -> None:
        last = self._last
        last.segment, last.direction = segment, direction
        last.sequence, last.end, last.window = packet.sequence, segment_end(packet), packet.window
        if segment is Segment.SYN and direction == ORIGINAL:
            last.ignored_syn = End()
            _read_syn_options(frame, packet, last.ignored_syn)
            last.challenge = self.state is TcpState.LAST_ACK
        if self.state is TcpState.SYN_SENT and segment is Segment.ACK and direction == REPLY:
            last.acknowledgement = packet.acknowledgement

    def _special_case(self, segment: Segment, direction: int, old: TcpState, new: TcpState) -> TcpState | None:
        """What the table cannot say; None: the segment passes and changes nothing."""
        last = self._last
        if new is TcpState.TIME_WAIT:
            challenged = last.challenge and last.segment is Segment.SYN and last.direction != direction
            if old is TcpState.LAST_ACK and segment is Segment.ACK and challenged:
                last.challenge = False
                return None
        elif new is TcpState.SYN_SENT2:
            last.simultaneous = True
        elif new is TcpState.SYN_RECV and segment is Segment.ACK and direction == REPLY and last.simultaneous:
            return TcpState.ESTABLISHED
        return new

    def _judge_reset(self, packet: Frame, direction: int) -> tuple[bool, TcpState] | None:
        """Whether a RST is in place without a look at the window, and the state after it; None: it is invalid."""
        last = self._last
        if self.state in _CLOSING:
            return True, TcpState.CLOSE
        max_ack = self._ends[1 - direction].max_ack
        new = TcpState.CLOSE
        if max_ack is not None and last.segment is not Segment.SYN:
            sequence = packet.sequence
            if sequence == 0 and not self.is_established:
                return False, new
            if _is_before(sequence, max_ack):
                return None
            ends_train = last.segment is Segment.ACK and last.direction == direction and sequence == last.end
            if not self.is_established or sequence == max_ack or ends_train:
                return False, new
            new = self.state  # not exactly in place: the peer may answer with a challenge
        if self._answers_challenge(packet, direction):
            return True, new
        answers_ignored = (self.seen_reply and last.segment is Segment.SYN) or (
            not self.assured and last.segment is Segment.ACK
        )
        acknowledges = last.direction != direction and packet.acknowledgement == last.end
        return answers_ignored and acknowledges, new

    def _answers_challenge(self, packet: Frame, direction: int) -> bool:
        """Whether a RST answers the ACK with which the peer answered a SYN it did not expect (RFC 5961)."""
        last = self._last
        return (
            self.state is TcpState.SYN_SENT
            and direction == ORIGINAL
            and last.segment is Segment.ACK
            and last.direction == REPLY
            and last.acknowledgement == packet.sequence
        )

    def _in_window(self, frame: bytes, packet: Frame, direction: int) -> bool | None:
        """Whether the segment lies between the bounds; None: it does not, but may pass without changing anything."""
        sender, receiver = self._ends[direction], self._ends[1 - direction]
        flags, window = packet.flags, packet.window
        sequence, end = packet.sequence, segment_end(packet)
        ack = sack = packet.acknowledgement
        if receiver.sacks and packet.payload - packet.transport > 20:
            sack = _highest_sack(frame, packet, ack)
        if not sender.max_window:
            if flags & SYN:
                self._begin_sender(frame, packet, sender, receiver, direction)
                if not flags & ACK:
                    return True
            else:
                self._pick_up_sender(sender, receiver, end, window, sack)
        elif flags & SYN and _is_before(sender.end, end) and self.state in (TcpState.SYN_SENT, TcpState.SYN_RECV):
            self._begin_sender(frame, packet, sender, receiver, direction)
            if direction == REPLY and not flags & ACK:
                return True
        if not flags & ACK or (flags & RST and ack == 0):
            ack = sack = receiver.end
        if flags & RST and sequence == 0 and self.state is TcpState.SYN_SENT:
            sequence = end = sender.end
        verdict = _judge_bounds(sender, receiver, sequence, end, sack)
        if verdict is not True and not sender.liberal:
            return verdict
        if verdict is True:
            self._update(packet, direction, (sequence, end, ack, sack))
        return True

    @staticmethod
    def _begin_sender(frame: bytes, packet: Frame, sender: End, receiver: End, direction: int) -> None:
        sender.end = sender.max_end = segment_end(packet)
        sender.max_window = packet.window or 1
        _read_syn_options(frame, packet, sender)
        if direction == REPLY and not (sender.scales and receiver.scales):
            sender.scale = receiver.scale = 0

    @staticmethod
    def _pick_up_sender(sender: End, receiver: End, end: int, window: int, sack: int) -> None:
        sender.end = end
        sender.max_window = (window << sender.scale) or 1
        sender.max_end = end + sender.max_window & _MASK
        if not receiver.max_window:
            receiver.end = receiver.max_end = sack
        elif sack == receiver.end + 1 & _MASK:
            receiver.end = sack  # the answer to a keep-alive

    def _update(self, packet: Frame, direction: int, numbers: tuple[int, int, int, int]) -> None:
        """Move both ends' bounds on by a segment that lies between them."""
        sequence, end, ack, sack = numbers
        sender, receiver = self._ends[direction], self._ends[1 - direction]
        window = packet.window if packet.flags & SYN else packet.window << sender.scale
        sender.max_window = max(sender.max_window, window + (sack - ack & _MASK))
        if (sender.end - end) & _SIGN:
            sender.end = end
            sender.unacknowledged = True
        if packet.flags & ACK and (sender.max_ack is None or (sender.max_ack - ack) & _SIGN):
            sender.max_ack = ack
        if receiver.max_window and (sender.max_end - end) & _SIGN:
            receiver.max_window += end - sender.max_end & _MASK
        limit = sack + window & _MASK
        if (receiver.max_end - 1 - limit) & _SIGN:
            receiver.max_end = limit + (not window) & _MASK
        if ack == receiver.end:
            receiver.unacknowledged = False
        if not packet.flags & (SYN | FIN | RST):
            self._count_retransmission((direction, sequence, end, ack, packet.window))

    def _count_retransmission(self, signature: tuple[int, int, int, int, int]) -> None:
        last = self._last
        if signature == (last.direction, last.sequence, last.end, last.acknowledgement, last.window):
            self._retransmissions += 1
        else:
            last.direction, last.sequence, last.end, last.acknowledgement, last.window = signature
            self._retransmissions = 0

    def _note_invalid(self, segment: Segment, direction: int) -> None:
        if self.assured and segment in (Segment.RST, Segment.FIN):
            self._last.segment, self._last.direction = segment, direction

    def _move(self, segment: Segment, direction: int, old: TcpState, new: TcpState) -> Judgement:
        last = self._last
        last.segment, last.direction = segment, direction
        if new is not old:
            self.state = new
            if new is TcpState.FIN_WAIT:
                self._ends[direction].closed_first = True
        self.timeout_s = self._timeout(segment, new)
        if not self.seen_reply:
            if segment is Segment.RST:
                return Judgement.ENDS
            if new is TcpState.ESTABLISHED:
                self.timeout_s = min(self.timeout_s, UNACKNOWLEDGED_S)
        elif not self.assured and new is TcpState.ESTABLISHED and old in (TcpState.SYN_RECV, TcpState.ESTABLISHED):
            self.assured = True
        return Judgement.BELONGS

    def _timeout(self, segment: Segment, state: TcpState) -> float:
        if segment is Segment.RST:
            return TIMEOUTS_S[TcpState.CLOSE]
        ends = self._ends
        waiting = ends[0].unacknowledged or ends[1].unacknowledged or not self._last.window
        if waiting or self._retransmissions >= _RETRANSMISSIONS:
            return min(TIMEOUTS_S[state], UNACKNOWLEDGED_S)
        return TIMEOUTS_S[state]


def _judge_bounds(sender: End, receiver: End, sequence: int, end: int, sack: int) -> bool | None:
    """True: between all four bounds; False: invalid; None: a repetition or late acknowledgement, harmless."""
    lowest_ack = receiver.end - max(sender.max_window, _LEAST_ACK_WINDOW) - 1
    lowest_end = sender.end - receiver.max_window - 1
    if not (sequence - sender.max_end - 1) & _SIGN:  # sequence over the upper bound
        overshoot = end - sender.max_end + 1 & _MASK
        if (
            receiver.max_window
            and (lowest_end - end) & _SIGN
            and (lowest_ack - sack) & _SIGN
            and overshoot <= receiver.max_window
            and (sack - receiver.end - 1) & _SIGN
        ):
            sender.end = end  # a peer that sends more than the window: believe its data, so that its ACK is seen
            sender.unacknowledged = True
            return None
        return False
    if not (sack - receiver.end - 1) & _SIGN:  # acknowledges what was never sent
        return False
    if receiver.max_window and not (lowest_end - end) & _SIGN:  # sequence under the lower bound
        return None
    if not (lowest_ack - sack) & _SIGN:  # acknowledgement under the lower bound
        return None
    return True


def _options(frame: bytes, packet: Frame) -> list[tuple[int, bytes]]:
    """The TCP options up to the first that makes no sense, without padding."""
    options = frame[packet.transport + 20 : packet.payload]
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            break
        found.append((options[at], options[at + 2 : at + options[at + 1]]))
        at += options[at + 1]
    return found


def _read_syn_options(frame: bytes, packet: Frame, sender: End) -> None:
    if packet.payload - packet.transport == 20:
        return  # a SYN without any option leaves standing what an earlier one said
    sender.scale = 0
    sender.scales = sender.sacks = sender.closed_first = sender.unacknowledged = False
    sender.max_ack = None
    for kind, value in _options(frame, packet):
        if kind == 4 and not value:
            sender.sacks = True
        elif kind == 3 and len(value) == 1:
            sender.scales, sender.scale = True, min(value[0], 14)


def _highest_sack(frame: bytes, packet: Frame, ack: int) -> int:
    """The highest right edge of the selective acknowledgements (RFC 2018), `ack` where there are none."""
    start = packet.transport + 20
    if packet.payload - start == 12 and frame[start : start + 4] == b"\x01\x01\x08\x0a":
        return ack  # only time stamps, as in nearly every segment
    highest = ack
    for kind, value in _options(frame, packet):
        if kind == 5 and len(value) % 8 == 0:
            for at in range(4, len(value), 8):
                edge = int.from_bytes(value[at : at + 4], "big")
                highest = edge if _is_before(highest, edge) else highest
    return highest

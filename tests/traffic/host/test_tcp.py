"""One TCP against itself over links that lose, delay, repeat and reorder; and one segment at a time."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.traffic.host.lossy_link import CLIENT, SERVER, Fate, LossyLink, Side, parsed
from vafw.traffic.frame import ACK, FIN, PSH, RST, SYN
from vafw.traffic.host.inflow import EARLY_LIMIT, WINDOW_BYTES, Inflow
from vafw.traffic.host.outflow import BUFFER_BYTES
from vafw.traffic.host.segment import Ends, Segment, segment_bytes_in
from vafw.traffic.host.tcp import CHALLENGE_S, LEAST_SEGMENT_BYTES, TIME_WAIT_S, TRIES, Connection, End, State

ENDS = Ends(4, CLIENT, 49152, SERVER, 80)
FATES: st.SearchStrategy[list[Fate]] = st.lists(
    st.one_of(
        st.just(()),
        st.tuples(st.floats(0, 3, allow_nan=False)),
        st.tuples(st.floats(0, 0.1), st.floats(0, 8)),
    ),
    max_size=60,
)
TEXTS = st.builds(lambda size, seed: bytes((seed + at * 7) % 251 for at in range(size)), st.integers(0, 40_000),
                  st.integers(0, 250))  # fmt: skip


def opened() -> Connection:
    return Connection.opened(ENDS, 1000, 0.0)


def established() -> Connection:
    """A connection that we have opened: our next byte is 1001, the peer's 5001."""
    made = opened()
    made.receive(Segment(SYN | ACK, 5000, 1001, 0xFFFF, b"", 1460), 0.0)
    made.outbox.clear()
    return made


def sent(connection: Connection) -> list[Segment]:
    segments = [parsed(each, CLIENT, SERVER) for each in connection.outbox]
    connection.outbox.clear()
    return segments


def from_peer(sequence: int, data: bytes = b"", flags: int = ACK, acknowledgement: int = 1001) -> Segment:
    return Segment(flags, sequence, acknowledgement, 0xFFFF, data)


@settings(deadline=None, max_examples=150)
@given(TEXTS, TEXTS, FATES)
@example(b"x" * 40_000, b"y" * 40_000, [(DELAY,) for DELAY in (0.03, 0.01, 0.02)] * 10)
def test_whatever_a_link_does_both_texts_arrive_or_the_end_has_a_reason(
    question: bytes, answer: bytes, fates: list[Fate]
) -> None:
    link = LossyLink(Side(question), Side(answer), fates)
    link.run()
    for near, far in ((link.client, link.server), (link.server, link.client)):
        assert near.say.startswith(bytes(far.heard))
        if far.connection is not None and far.connection.end is End.CLOSED:
            assert far.heard == near.say
    ends = [side.connection.end for side in (link.client, link.server) if side.connection is not None]
    assert None not in ends or ends == [End.TIMED_OUT, None]


@settings(deadline=None, max_examples=40)
@given(TEXTS, TEXTS, FATES.filter(lambda fates: sum(not each for each in fates) <= 3))
def test_few_losses_cost_nothing_but_time(question: bytes, answer: bytes, fates: list[Fate]) -> None:
    link = LossyLink(Side(question), Side(answer), fates)
    link.run()
    assert link.client.heard == answer
    assert link.server.heard == question


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 2.0), FATES.filter(lambda fates: sum(not each for each in fates) <= 2))
def test_a_slow_reader_slows_the_sender_down_and_still_gets_everything(pause_s: float, fates: list[Fate]) -> None:
    text = bytes(number % 253 for number in range(150_000))
    link = LossyLink(Side(text), Side(b"", reads_each_s=pause_s), fates)
    link.run()
    assert link.server.heard == text


def test_a_reader_that_never_reads_is_sent_no_more_than_a_window() -> None:
    link = LossyLink(Side(b"x" * 300_000), Side(b"", reads_each_s=1e9))
    link.server.read_s = 1e9
    link.run()
    assert link.client.connection is not None
    assert link.server.connection is not None
    assert link.server.connection.unread == WINDOW_BYTES
    assert link.client.said <= WINDOW_BYTES + BUFFER_BYTES
    assert link.client.connection.is_open


def test_a_link_that_is_cut_ends_both_sides_with_a_reason() -> None:
    link = LossyLink(Side(b"x" * 10_000), Side(b""), [(0.01,)] * 3 + [()] * 500)
    link.run()
    ends = [side.connection.end for side in (link.client, link.server) if side.connection is not None]
    assert ends in ([End.TIMED_OUT, End.TIMED_OUT], [End.TIMED_OUT, None])


def test_three_duplicate_acknowledgements_bring_a_lost_segment_before_its_timeout() -> None:
    text = bytes(number % 250 for number in range(30_000))
    link = LossyLink(Side(text), Side(b""), [(0.01,)] * 4 + [()])
    link.run()
    assert link.server.heard == text
    assert link.now_s < 1.0 + TIME_WAIT_S


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-70_000, 140_000), st.integers(0, 3000), st.booleans()), max_size=300))
def test_no_segments_make_a_receiver_keep_more_than_its_window(segments: list[tuple[int, int, bool]]) -> None:
    inflow = Inflow(0xFFFFFFF0, 1460)
    for offset, size, last in segments:
        sequence = 0xFFFFFFF0 + offset & 0xFFFFFFFF
        if inflow.admits(sequence, size + last):
            inflow.take(sequence, bytes(size), last=last)
        early = sum(len(piece) for _, piece in inflow._early)
        assert inflow.unread + early <= WINDOW_BYTES
        assert len(inflow._early) <= EARLY_LIMIT


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), max_size=80))
def test_pieces_that_overlap_in_any_way_make_one_text(cuts: list[tuple[int, int]]) -> None:
    text = bytes(number % 241 for number in range(900))
    inflow = Inflow(0xFFFFFF00, 1460)
    for start, size in [*cuts, (0, 450), (450, 450)]:
        inflow.take(0xFFFFFF00 + start & 0xFFFFFFFF, text[start : start + size], last=start + size == 900)
    assert (inflow.read(1000), inflow.is_over) == (text, True)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.builds(
            Segment,
            st.sampled_from([ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK]),
            st.integers(4_990, 5_100) | st.integers(0, 0xFFFFFFFF),
            st.integers(990, 3_000) | st.integers(0, 0xFFFFFFFF),
            st.integers(0, 0xFFFF),
            st.binary(max_size=50),
            st.none() | st.integers(0, 0xFFFF),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_no_segments_make_a_connection_raise_or_answer_more_than_they_are(segments: list[Segment], shut: bool) -> None:
    connection = opened()
    for at, segment in enumerate(segments):
        connection.receive(segment, at * 0.1)
        connection.write(b"hello" * 100)
        if shut and at == 3:
            connection.shut()
        connection.flush(at * 0.1)
        connection.advance(at * 0.1)
        assert len(connection.outbox) <= 6
        connection.outbox.clear()


def test_a_closed_port_refuses() -> None:
    connection = opened()
    connection.receive(Segment(RST | ACK, 0, 1001, 0, b""), 0.0)
    assert connection.end is End.REFUSED


def test_an_answer_to_an_older_syn_is_passed_over() -> None:
    connection = opened()
    connection.receive(Segment(RST | ACK, 0, 1002, 0, b""), 0.0)
    connection.receive(Segment(SYN | ACK, 5000, 999, 0xFFFF, b""), 0.0)
    assert (connection.state, connection.end) == (State.SYN_SENT, None)


def test_nobody_there_times_out_after_so_many_tries() -> None:
    connection, now_s = opened(), 0.0
    while connection.deadline_s is not None:
        now_s = connection.deadline_s
        connection.advance(now_s)
    assert (connection.end, now_s, len(connection.outbox)) == (End.TIMED_OUT, 31.0, TRIES)


def test_a_reset_that_stands_not_in_line_is_challenged_once_in_a_while() -> None:
    connection = established()
    for at in range(5):
        connection.receive(from_peer(5002 + at, flags=RST, acknowledgement=0), at * CHALLENGE_S / 4)
    assert [(each.flags, each.acknowledgement) for each in sent(connection)] == [(ACK, 5001)] * 2
    connection.receive(from_peer(5001, flags=RST, acknowledgement=0), 2.0)
    assert connection.end is End.RESET


def test_a_syn_on_an_open_connection_is_challenged() -> None:
    connection = established()
    connection.receive(Segment(SYN, 5001, 0, 0xFFFF, b""), 0.0)
    assert (connection.is_open, [each.flags for each in sent(connection)]) == (True, [ACK])


def test_data_with_an_acknowledgement_of_what_was_never_sent_is_not_taken() -> None:
    connection = established()
    connection.receive(from_peer(5001, b"forged", acknowledgement=9000), 0.0)
    assert connection.unread == 0


def test_an_icmp_error_ends_an_opening_and_nothing_else() -> None:
    opening, open_ = opened(), established()
    opening.unreachable()
    open_.unreachable()
    assert (opening.end, open_.end) == (End.REFUSED, None)


def test_a_path_that_takes_less_gets_smaller_segments() -> None:
    connection = established()
    connection.write(b"x" * 5000)
    connection.flush(0.0)
    assert len(sent(connection)[0].data) == 1460
    connection.too_large(1000, 0.0)
    assert [len(each.data) for each in sent(connection)][:2] == [960, 960]
    connection.too_large(68, 0.0)
    assert len(sent(connection)[0].data) == LEAST_SEGMENT_BYTES


def test_a_peer_that_wants_crumbs_gets_whole_segments() -> None:
    connection = opened()
    connection.receive(Segment(SYN | ACK, 5000, 1001, 0xFFFF, b"", 1), 0.0)
    sent(connection)
    connection.write(b"x" * 2000)
    connection.flush(0.0)
    assert [len(each.data) for each in sent(connection)] == [536, 536, 536, 392]


def test_a_closed_window_is_probed_for_as_long_as_probes_are_answered() -> None:
    connection = established()
    connection.receive(Segment(ACK, 5001, 1001, 0, b""), 0.0)
    connection.write(b"x" * 100)
    connection.flush(0.0)
    assert sent(connection) == []
    for _ in range(20):
        now_s = connection.deadline_s or 0.0
        connection.advance(now_s)
        (probe,) = sent(connection)
        assert probe.data == b"x"
        connection.receive(Segment(ACK, 5001, 1001, 0, b""), now_s)
    connection.receive(Segment(ACK, 5001, 1001, 1000, b""), now_s)
    assert [each.data for each in sent(connection)] == [b"x" * 100]


def test_one_side_may_close_and_still_listen() -> None:
    connection = established()
    connection.write(b"all I have to say")
    connection.shut()
    connection.flush(0.0)
    (said,) = sent(connection)
    assert said.flags == FIN | PSH | ACK
    connection.receive(from_peer(5001, b"and", acknowledgement=1019), 0.0)
    assert (connection.state, connection.read()) == (State.FIN_WAIT_2, b"and")
    connection.receive(from_peer(5004, b"more", FIN | ACK, 1019), 0.0)
    assert (connection.state, connection.read(), connection.peer_is_done) == (State.TIME_WAIT, b"more", True)
    assert connection.deadline_s == TIME_WAIT_S
    connection.advance(TIME_WAIT_S)
    assert connection.end is End.CLOSED


def test_a_fin_that_comes_again_is_acknowledged_again() -> None:
    connection = established()
    connection.shut()
    connection.flush(0.0)
    connection.receive(from_peer(5001, b"", FIN | ACK, 1002), 0.0)
    sent(connection)
    connection.receive(from_peer(5001, b"", FIN | ACK, 1002), 1.0)
    assert [(each.flags, each.acknowledgement) for each in sent(connection)] == [(ACK, 5002)]


def test_an_aborted_connection_says_so() -> None:
    connection = established()
    connection.abort()
    assert (connection.end, [each.flags for each in sent(connection)]) == (End.ABORTED, [RST | ACK])


@pytest.mark.parametrize(
    "options", [b"\x02\x04\x05\xb4", b"\x01\x01\x02\x04\x05\xb4", b"\x03\x03\x07\x02\x04\x05\xb4\0"]
)
def test_the_option_is_found_among_others(options: bytes) -> None:
    assert segment_bytes_in(options) == 1460


@pytest.mark.parametrize("options", [b"", b"\x02", b"\x02\x04\x05", b"\x08\x00\x02\x04\x05\xb4", b"\0\x02\x04\x05\xb4"])
def test_options_that_make_no_sense_say_nothing(options: bytes) -> None:
    assert segment_bytes_in(options) is None

"""The VPN: handshakes, sessions, and a kill switch that nothing gets by."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.appliances.vpn_far_end import FAR_PRIVATE, FarEnd, dice
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict
from vafw_appliances.vpn.guest import MTU, Vpn, create
from vafw_appliances.vpn.noise import Identity, public_key
from vafw_appliances.vpn.session import REJECT_AFTER_TIME_S, WINDOW, ReplayWindow
from vafw_appliances.vpn.tunnel import Tunnel

OUTER_MAC, INNER_MAC = "52:54:00:00:00:01", "02:00:00:00:00:02"
USER_MAC = "02:00:00:00:00:77"
CONFIG: dict[str, Any] = {
    "router": {
        "outside": {"mac": OUTER_MAC, "addresses": ["10.0.0.2/24"], "gateway": ["10.0.0.1"]},
        "inside": {"mac": INNER_MAC, "addresses": ["10.66.0.1/24", "fd66::1/64"]},
    },
    "tunnel": {
        "addresses": ["10.66.0.1/32"],
        "peers": [
            {
                "name": "office",
                "public-key": b64encode(public_key(FAR_PRIVATE)).decode(),
                "endpoint": "198.51.100.7:51820",
                "allowed": ["0.0.0.0/0"],
                "keepalive": None,
            }
        ],
    },
}
PRIVATE = bytes(range(32))


def pair() -> tuple[Tunnel, Tunnel]:
    """Both ends of a tunnel."""
    one = Tunnel(Identity(PRIVATE, public_key(FAR_PRIVATE)), dice(b"one"))
    return one, Tunnel(Identity(FAR_PRIVATE, public_key(PRIVATE)), dice(b"other"))


def joined() -> tuple[Tunnel, Tunnel]:
    """Both ends after a handshake that the first has begun."""
    one, other = pair()
    (initiation,) = one.send(b"first packet....", 1.0)
    _, (response,) = other.receive(initiation, 1.0)
    _, (first,) = one.receive(response, 1.0)
    assert other.receive(first, 1.0) == (b"first packet....", ())
    return one, other


class Bench:
    """The program between a user, who answers ARP, and a far end."""

    def __init__(self) -> None:
        self.program: PacketAppliance = create(CONFIG, dice(b"vpn"))
        self.far = FarEnd(str(self.program.report()["public-key"]))
        self.now_s = 1.0
        self.to_user: list[bytes] = []

    def send(self, frame: Any) -> Verdict:
        """A frame of the user's, and all that follows from it."""
        verdict = self.program.handle(INSIDE, bytes(frame), self.now_s)
        self.carry(verdict.emit)
        return verdict

    def carry(self, emit: Any) -> None:
        waiting = list(emit)
        while waiting:
            port, frame = waiting.pop(0)
            if port == INSIDE:
                self.to_user.append(frame)
                if ARP in (asked := Ether(frame)) and asked[ARP].op == 1:
                    told = ARP(op=2, hwsrc=USER_MAC, psrc=asked.pdst, hwdst=INNER_MAC, pdst="10.66.0.1")
                    answer = bytes(Ether(src=USER_MAC, dst=INNER_MAC) / told)
                    waiting += self.program.handle(INSIDE, answer, self.now_s).emit
            else:
                for back in self.far.handle(frame, self.now_s):
                    waiting += self.program.handle(OUTSIDE, back, self.now_s).emit


def from_user(packet: Any) -> Any:
    return Ether(src=USER_MAC, dst=INNER_MAC) / packet


PING = from_user(IP(src="10.66.0.2", dst="198.51.100.10") / ICMP(id=7))


def test_the_first_packet_waits_for_the_handshake_and_is_answered_through_the_tunnel() -> None:
    bench = Bench()
    assert bench.send(PING).outcome is Outcome.DROPPED  # no session yet
    assert [Ether(each)[IP].src for each in bench.to_user if IP in Ether(each)] == ["198.51.100.10"]
    assert bench.send(PING).outcome is Outcome.PASSED


def test_a_session_carries_packets_both_ways() -> None:
    one, other = joined()
    (datagram,) = other.send(b"answer..........", 2.0)
    assert one.receive(datagram, 2.0) == (b"answer..........", ())


def test_without_an_answer_one_packet_waits_and_the_newest_is_it() -> None:
    one, other = pair()
    (initiation,) = one.send(b"older...........", 1.0)
    assert list(one.send(b"newer...........", 2.0)) == []
    _, (response,) = other.receive(initiation, 2.0)
    _, (only,) = one.receive(response, 2.0)
    assert other.receive(only, 2.0)[0] == b"newer..........."


def test_an_old_session_carries_nothing_and_a_new_handshake_is_asked_for() -> None:
    one, other = joined()
    (late,) = other.send(b"late............", 100.0)
    after = 1.0 + REJECT_AFTER_TIME_S
    assert one.receive(late, after) == (None, ())
    (asked,) = one.send(b"................", after)
    assert asked[0] == 1


def test_the_initiator_rekeys_after_two_minutes() -> None:
    one, other = joined()
    data, initiation = one.send(b"................", 122.0)
    assert (data[0], initiation[0]) == (4, 1)
    _, (response,) = other.receive(initiation, 122.0)
    _, (confirmation,) = one.receive(response, 122.0)
    assert other.receive(confirmation, 122.0) == (b"", ())
    assert (one.handshakes, other.handshakes) == (2, 2)


def test_who_hears_data_and_has_nothing_to_say_says_so_after_ten_seconds() -> None:
    _, other = joined()
    assert list(other.on_timer(10.0)) == []
    (keepalive,) = other.on_timer(11.0)
    assert (keepalive[0], len(keepalive)) == (4, 32)


def test_an_unanswered_handshake_is_begun_anew_every_five_seconds_for_ninety() -> None:
    one, _ = pair()
    list(one.send(b"................", 0.0))
    assert [at for at in range(1, 120) if list(one.on_timer(float(at)))] == list(range(5, 90, 5))


@given(st.integers(0, 200), st.data())
def test_an_altered_message_never_passes_and_never_raises(which: int, data: st.DataObject) -> None:
    one, other = pair()
    (initiation,) = one.send(b"first packet....", 1.0)
    _, (response,) = Tunnel(Identity(FAR_PRIVATE, public_key(PRIVATE)), dice(b"x")).receive(initiation, 1.0)
    near, far = joined()
    (transport,) = near.send(b"................", 2.0)
    receiver, message = ((other, initiation), (one, response), (far, transport))[which % 3]
    bit = data.draw(st.integers(0, 8 * len(message) - 1))
    changed = bytearray(message)
    changed[bit // 8] ^= 1 << bit % 8
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    in_mac2 = receiver is not far and bit // 8 >= len(message) - 16  # no cookies: nobody reads it
    assert in_mac2 or receiver.receive(bytes(changed), 2.0) == (None, ())
    assert receiver.receive(cut, 2.0) == (None, ())


@given(st.binary(max_size=200))
def test_what_no_peer_has_made_never_passes_and_never_raises(datagram: bytes) -> None:
    one, _ = joined()
    assert one.receive(datagram, 2.0) == (None, ())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80))
def test_each_message_passes_once_in_whatever_order(order: list[int]) -> None:
    one, other = joined()
    sent = [next(iter(one.send(bytes([each]) * 16, 2.0))) for each in range(41)]
    passed = [plain for each in order if (plain := other.receive(sent[each], 2.0)[0]) is not None]
    assert passed == [bytes([each]) * 16 for each in dict.fromkeys(order)]


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60))
def test_the_window_takes_what_a_set_of_all_counters_would(counters: list[int]) -> None:
    window, seen = ReplayWindow(), set[int]()
    for counter in counters:
        expected = counter not in seen and counter > max(seen, default=-1) - WINDOW
        assert window.is_new(counter) is expected
        if expected:
            window.enter(counter)
            seen.add(counter)


def test_a_handshake_that_is_played_again_is_refused() -> None:
    one, other = pair()
    (initiation,) = one.send(b"................", 1.0)
    assert len(other.receive(initiation, 1.0)[1]) == 1
    assert other.receive(initiation, 2.0) == (None, ())


@given(st.sampled_from([INSIDE, OUTSIDE, "mirror"]), st.binary(max_size=120), st.booleans())
def test_whatever_comes_nothing_leaves_but_the_tunnels_own_datagrams(port: str, data: bytes, headed: bool) -> None:
    program = Bench().program
    head = bytes.fromhex((INNER_MAC if port == INSIDE else OUTER_MAC).replace(":", "")) + bytes(6)
    frame = head + (b"\x08\x00" if headed else b"") + data
    assert [out for out, _ in program.handle(port, frame, 1.0).emit] == []


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255), st.booleans()), max_size=8))
def test_every_frame_on_the_wire_is_arp_or_goes_to_the_endpoint(packets: list[tuple[int, int, bool]]) -> None:
    bench = Bench()
    for destination, protocol, up in packets:
        bench.now_s += 1.0 if up else 200.0
        bench.send(from_user(IP(src="10.66.0.2", dst=str(ip_address(destination)), proto=protocol) / b"secret words"))
        if isinstance(bench.program, Vpn):
            bench.carry(bench.program.on_timer(bench.now_s))
    for frame in map(Ether, bench.far.seen):
        assert ARP in frame or (frame[IP].dst, frame[UDP].dport, frame[UDP].sport) == ("198.51.100.7", 51820, 51820)
        assert b"secret words" not in bytes(frame)


def test_of_two_handshakes_that_wait_for_the_gateway_only_the_newer_leaves() -> None:
    bench = Bench()
    program = bench.program
    assert isinstance(program, Vpn)
    program.handle(INSIDE, bytes(PING), 0.0)  # the gateway's answer to this question is lost
    bench.carry(program.on_timer(5.0))
    assert bench.far.tunnel is not None
    assert (len([each for each in map(Ether, bench.far.seen) if UDP in each]), bench.far.tunnel.handshakes) == (2, 1)


def test_a_packet_for_nobody_behind_a_peer_stays_here() -> None:
    config = {**CONFIG, "tunnel": {**CONFIG["tunnel"], "peers": [{**CONFIG["tunnel"]["peers"][0], "allowed": []}]}}
    verdict = create(config).handle(INSIDE, bytes(PING), 1.0)
    assert (verdict.outcome, verdict.rule, verdict.emit) == (Outcome.DROPPED, "(kill switch)", ())


def test_a_packet_too_large_for_the_tunnel_is_refused_with_the_size_that_fits() -> None:
    bench = Bench()
    bench.send(from_user(IP(src="10.66.0.2", dst="198.51.100.10", flags="DF") / UDP() / bytes(MTU)))
    (told,) = (Ether(each) for each in bench.to_user)
    assert (told[ICMP].type, told[ICMP].code, told[ICMP].nexthopmtu) == (3, 4, MTU)


def test_the_program_that_follows_keeps_the_key() -> None:
    program = create(CONFIG)
    assert isinstance(program, Vpn)
    assert program.reconfigured(CONFIG).report()["public-key"] == program.report()["public-key"]


def test_a_tunnel_to_a_key_of_low_order_is_refused() -> None:
    peer = {**CONFIG["tunnel"]["peers"][0], "public-key": b64encode(bytes(32)).decode()}
    with pytest.raises(ValueError, match=r"."):
        create({**CONFIG, "tunnel": {**CONFIG["tunnel"], "peers": [peer]}})


def test_a_tunnel_without_a_peer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^tunnel\.peers must name at least one peer$"):
        create({**CONFIG, "tunnel": {"addresses": [], "peers": []}})


SECRET = "5e" * 32
DATE_S = 1_796_000_000.0


def initiation(vpn: PacketAppliance, now_s: float) -> list[bytes]:
    """The handshakes that a packet of the user's leads to, or the question for the gateway."""
    packet = Ether(src=USER_MAC, dst=INNER_MAC) / IP(src="10.66.0.2", dst="203.0.113.5") / UDP(sport=1, dport=2)
    return [frame for _, frame in vpn.handle(INSIDE, bytes(packet), now_s).emit]


def kept(**more: Any) -> Vpn:
    vpn = create(CONFIG | {"secret": SECRET} | more, dice(b"kept"))
    assert isinstance(vpn, Vpn)
    return vpn


def test_a_secret_that_is_kept_gives_the_same_key_each_time_and_none_another() -> None:
    keys = [kept().report()["public-key"] for _ in range(2)]
    keys += [kept(secret="5f" * 32).report()["public-key"], create(CONFIG).report()["public-key"]]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert SECRET not in str(kept().report())


def test_under_a_key_that_is_kept_no_handshake_is_begun_before_the_date_is_known() -> None:
    vpn = kept()
    assert initiation(vpn, 10.0) == []
    assert list(vpn.on_timer(20.0)) == []
    vpn.clock_set(DATE_S)
    assert len(list(vpn.on_timer(30.0))) == 1, "the packet still waits, and now the gateway is asked for"


def test_a_restart_stamps_its_handshakes_later_than_those_before() -> None:
    """The far end takes no timestamp that is not greater than the last: seconds since the start would be refused."""
    key = public_key(PRIVATE)
    far = Tunnel(Identity(FAR_PRIVATE, key), dice(b"far"))
    for number, (now_s, offset_s) in enumerate([(900.0, DATE_S), (1.0, DATE_S + 1000.0)], start=1):
        near = Tunnel(Identity(PRIVATE, public_key(FAR_PRIVATE)), dice(b"near"))
        near.clock_offset_s = offset_s
        (begun,) = near.send(b"packet", now_s)
        _, answers = far.receive(begun, 10.0 * number)
        assert len(answers) == 1, "answered"
    assert far.refused == 0


def test_a_clock_that_is_set_back_stamps_no_handshake_earlier() -> None:
    near, far = pair()
    for number, offset_s in enumerate([DATE_S, DATE_S - 5000.0, DATE_S - 9000.0]):
        near.clock_offset_s = offset_s
        now_s = 1.0 + 200.0 * number
        (begun,) = near.send(b"packet", now_s)
        assert len(far.receive(begun, now_s)[1]) == 1
    assert far.refused == 0


@pytest.mark.parametrize("secret", ["", "5e", "5E" * 32, 7])
def test_a_secret_that_is_none_is_refused(secret: Any) -> None:
    with pytest.raises(ValueError, match=r"^secret must be 32 bytes, hexadecimal$"):
        create(CONFIG | {"secret": secret})

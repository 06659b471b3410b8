from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.packet_text import Asked, parse_packet
from vafw.traffic.reason import State
from vafw.traffic.rule import TCP, UDP, Packet

states = st.sampled_from([State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID])


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    version = draw(st.sampled_from([4, 6]))
    address = st.integers(0, 2**32 - 1 if version == 4 else 2**128 - 1)
    protocol = draw(st.sampled_from([TCP, UDP, 1 if version == 4 else 58, 47]))
    ports = st.integers(0, 0xFFFF) if protocol in (TCP, UDP) else st.just(0)
    types = st.integers(0, 255) if protocol in (1, 58) else st.just(0)
    packet = Packet(
        draw(st.sampled_from([INSIDE, OUTSIDE])),
        version, draw(address), draw(address), protocol, draw(ports), draw(types),
        draw(st.integers(0, 4094)), draw(states),
    )  # fmt: skip
    return Asked(packet, draw(ports) if protocol in (TCP, UDP) else None, True)


@given(asked())
def test_a_packet_is_read_as_it_is_written(packet: Asked) -> None:
    assert parse_packet(str(packet)) == packet


def test_a_packet_is_new_and_from_the_inside_where_nothing_is_said() -> None:
    found = parse_packet("tcp 10.0.0.2:40000 -> 1.2.3.4:443")
    assert found == Asked(Packet(INSIDE, 4, 0x0A000002, 0x01020304, TCP, 443), 40000, side_given=False)


def test_icmp_is_an_echo_request_where_nothing_is_said() -> None:
    assert parse_packet("icmp 10.0.0.2 -> 1.2.3.4").packet.icmp_type == 8
    assert parse_packet("icmpv6 2001:db8::1 -> 2001:db8::2").packet.icmp_type == 128


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "tcp 10.0.0.2",
            "a packet must be written as PROTOCOL SOURCE[:PORT] -> DESTINATION[:PORT] [STATE], such as "
            "'tcp 10.0.0.2:40000 -> 1.2.3.4:443 new', not 'tcp 10.0.0.2'",
        ),
        ("tpc 10.0.0.2 -> 1.2.3.4:443", "a protocol must be icmp, tcp, udp, icmpv6 or a number up to 255, not 'tpc'"),
        ("tcp 10.0.0.2 -> 1.2.3.4", "a destination of tcp must have a port, as in 1.2.3.4:443"),
        (
            "tcp 10.0.0.2 -> [2001:db8::1]:443",
            "both addresses of a packet must be of one family, not 10.0.0.2 and [2001:db8::1]:443",
        ),
        ("icmp 2001:db8::1 -> 2001:db8::2", "icmp must have addresses of IPv4, not 2001:db8::1"),
        (
            "tcp 10.0.0.300 -> 1.2.3.4:443",
            "an end of a packet must look like 10.0.0.2:40000 or [2001:db8::2]:40000, not '10.0.0.300'",
        ),
        ("tcp 10.0.0.2 -> 1.2.3.4:70000", "a port must be up to 65535 and of tcp or udp, not as in '1.2.3.4:70000'"),
        ("icmp 10.0.0.2 -> 1.2.3.4:80", "a port must be up to 65535 and of tcp or udp, not as in '1.2.3.4:80'"),
        (
            "udp 10.0.0.2 -> 1.2.3.4:53 fresh",
            "after the destination must stand one of new, established, related, invalid, inside, outside, vlan N, "
            "not 'fresh'",
        ),
        ("udp 10.0.0.2 -> 1.2.3.4:53 vlan", "a VLAN must be a number up to 4094, not nothing"),
    ],
)
def test_what_is_no_packet_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        parse_packet(text)
    assert str(caught.value) == message

"""The IDS, the tap before it, and the appliance to copy."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome
from vafw.traffic.frame import Frame, parse
from vafw.traffic.signature import read_signature
from vafw_appliances.ids.guest import create as ids
from vafw_appliances.tap.guest import create as tap
from vafw_appliances.template.guest import create as template

HOME = AddressSet.from_texts(["10.0.0.2"])
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
TELNET = 'alert tcp $HOME_NET any -> $EXTERNAL_NET 23 (msg:"telnet"; content:"log|69 6e|"; nocase; sid:7; rev:2;)'


def frame(source: str, destination: str, port: int, text: bytes = b"", layer: Any = TCP) -> bytes:
    return bytes(ETHER / IP(src=source, dst=destination) / layer(sport=4000, dport=port) / Raw(text))


def matches(rule: str, data: bytes) -> bool:
    packet = parse(data)
    assert isinstance(packet, Frame)
    return read_signature(rule, HOME).matches(data, packet)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (frame("10.0.0.2", "1.1.1.1", 23, b"LOGIN: root"), True),
        (frame("10.0.0.2", "1.1.1.1", 23, b"hello"), False),
        (frame("10.0.0.2", "1.1.1.1", 24, b"login"), False),
        (frame("10.0.0.3", "1.1.1.1", 23, b"login"), False),
        (frame("1.1.1.1", "10.0.0.2", 23, b"login"), False),
        (frame("10.0.0.2", "1.1.1.1", 23, b"login", UDP), False),
    ],
)
def test_a_signature_matches_what_it_says(data: bytes, *, found: bool) -> None:
    assert matches(TELNET, data) is found


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("alert ip any any <> [1.1.1.0/24,!1.1.1.9] any (sid:1;)", True),
        ("alert ip any any -> [1.1.1.0/24,!1.1.1.1] any (sid:1;)", False),
        ("alert tcp any 4000 -> any [20:22,!21] (sid:1;)".replace(",!21", ""), False),
        ("alert tcp any !4000 -> any any (sid:1;)", False),
        ("alert tcp 1.1.1.1 any <> any any (sid:1;)", True),
        ('alert tcp any any -> any any (content:!"secret"; sid:1;)', True),
        ('alert tcp any any -> any any (content:"hel"; content:"lo"; sid:1;)', True),
    ],
)
def test_every_part_of_a_header_counts(rule: str, *, found: bool) -> None:
    assert matches(rule, frame("10.0.0.2", "1.1.1.1", 80, b"hello")) is found


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("watch tcp", "a signature must be ACTION PROTOCOL SOURCE PORT -> DESTINATION PORT (...), not 'watch tcp'"),
        ("alert http any any -> any any (sid:1;)", "a signature's protocol must be tcp, udp, icmp or ip, not 'http'"),
        ("alert ip any any -> any any (pcre:x;)", "a signature must use keywords that are known here, not 'pcre'"),
        ("alert tcp any any -> any any (msg:\"x\";)", "a signature must have a sid"),
        ("alert tcp any any -> any 90:80 (sid:1;)", "ports must lie within 0 and 65535, not '90:80'"),
    ],
)  # fmt: skip
def test_a_signature_that_is_not_understood_is_refused(rule: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole message is pinned
        read_signature(rule, HOME)
    assert str(refused.value) == message


@given(st.text(max_size=80))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with suppress(ValueError):
        read_signature(f"alert tcp any any -> any any ({text})", HOME)


def test_inline_it_drops_what_it_is_told_to_and_passes_the_rest_unchanged() -> None:
    program = ids({"rules": [TELNET.replace("alert", "drop", 1)], "home": ["10.0.0.2"]})
    bad, good = frame("10.0.0.2", "1.1.1.1", 23, b"login"), frame("10.0.0.2", "1.1.1.1", 80, b"login")
    verdict = program.handle(INSIDE, bad, 0.0)
    assert (verdict.outcome, verdict.rule, verdict.emit) == (Outcome.DROPPED, "sid-7", ())
    assert verdict.log == "drop 7 telnet: 10.0.0.2 to 1.1.1.1"
    assert program.handle(INSIDE, good, 0.0).emit == ((OUTSIDE, good),)


def test_at_a_mirror_it_alerts_and_nothing_leaves() -> None:
    program = ids({"rules": [TELNET], "home": ["10.0.0.2"]})
    verdict = program.handle("mirror", frame("10.0.0.2", "1.1.1.1", 23, b"login"), 0.0)
    assert (verdict.emit, verdict.log) == ((), "alert 7 telnet: 10.0.0.2 to 1.1.1.1")
    assert program.report()["alerts"] == {"sid-7": 1}


def test_a_pass_signature_before_others_lets_its_packets_alone() -> None:
    program = ids({"rules": ["pass tcp any any -> 1.1.1.1 any (sid:1;)", "drop tcp any any -> any any (sid:2;)"]})
    assert program.handle(INSIDE, frame("10.0.0.2", "1.1.1.1", 23), 0.0).emit
    assert program.handle(INSIDE, frame("10.0.0.2", "1.1.1.2", 23), 0.0).rule == "sid-2"


def test_an_ids_without_signatures_is_not_healthy() -> None:
    assert ids({}).probe() == (False, "there are no signatures to look for")


def test_a_wrong_signature_is_refused_with_its_number() -> None:
    with pytest.raises(ValueError, match=r"^rule 2: a signature must have a sid$"):
        ids({"rules": [TELNET, "alert ip any any -> any any (rev:1;)"]})


@given(st.binary(max_size=100), st.sampled_from([INSIDE, OUTSIDE]))
def test_the_tap_passes_every_frame_and_shows_it(data: bytes, port: str) -> None:
    verdict = tap({}).handle(port, data, 0.0)
    assert verdict.emit == ((INSIDE if port == OUTSIDE else OUTSIDE, data), ("mirror", data))


def test_nothing_comes_back_from_the_mirror() -> None:
    assert tap({}).handle("mirror", bytes(60), 0.0).emit == ()


def test_the_appliance_to_copy_does_what_it_says() -> None:
    program = template({"longest-frame": 100})
    assert program.handle(INSIDE, bytes(100), 0.0).emit == ((OUTSIDE, bytes(100)),)
    assert program.handle(INSIDE, bytes(101), 0.0).rule == "too-long"
    assert program.probe() == (True, "frames of more than 100 bytes are dropped")
    assert program.report() == {"(passed)": 1, "too-long": 1}

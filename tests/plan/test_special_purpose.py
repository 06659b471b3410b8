from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.plan.special_purpose import PUBLIC, SPECIAL_PURPOSE

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    return PUBLIC.contains(address.version, int(address))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "100.128.0.1", "192.31.196.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.255.255", "192.168.0.1", "198.19.0.1",
        "203.0.113.9", "224.0.0.251", "255.255.255.255", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fe80::1",
        "fd00::1", "fec0::1", "ff02::fb", "2001:db8::1", "2002:a00:1::1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_a_special_purpose_address_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@given(addresses)
def test_what_the_standard_library_calls_private_is_never_public(address: IPv4Address | IPv6Address) -> None:
    assert not (is_public(address) and (address.is_private or address.is_multicast or address.is_link_local))


@given(addresses)
def test_an_address_is_public_exactly_when_no_row_holds_it(address: IPv4Address | IPv6Address) -> None:
    in_a_row = any(row.network.version == address.version and address in row.network for row in SPECIAL_PURPOSE)
    assert is_public(address) != in_a_row


def test_the_rows_are_in_order_and_do_not_repeat() -> None:
    keys = [(row.network.version, row.network) for row in SPECIAL_PURPOSE]
    assert keys == sorted(set(keys), key=lambda key: (key[0], int(key[1].network_address)))

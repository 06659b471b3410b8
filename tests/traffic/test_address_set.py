"""Addresses read from text, against Python's own reader."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vafw.traffic.address_set import AddressSet


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_is_read_as_python_reads_it(address: IPv4Address | IPv6Address, length: int) -> None:
    meant = ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
    assert AddressSet.from_texts([str(meant)]) == AddressSet.of([meant])


@given(st.ip_addresses(), st.integers(0, 128))
def test_bits_after_the_prefix_are_refused(address: IPv4Address | IPv6Address, length: int) -> None:
    text = f"{address}/{min(length, address.max_prefixlen)}"
    assume(str(ip_network(text, strict=False)) != text)
    with pytest.raises(ValueError, match=r"^an address must look like"):
        AddressSet.from_texts([text])


@given(st.ip_addresses())
def test_an_address_is_a_network_of_one(address: IPv4Address | IPv6Address) -> None:
    assert AddressSet.from_texts([str(address)]) == AddressSet.of([ip_network(address)])


@pytest.mark.parametrize(
    "text",
    ["10.0.0.01", "10.0.0.0/33", "10.0.0.1/8", "256.0.0.0", "10.0.0.0/ 8", "10.0.0", "1\N{FULLWIDTH DIGIT ONE}.0.0.0"],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^an address must look like 10\.0\.0\.0/8, .* or 10\.0\.0\.1-10\.0\.0\.9, not"
    ):
        AddressSet.from_texts([text])

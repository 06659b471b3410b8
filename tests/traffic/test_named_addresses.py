"""Host names in rules: what they cover, and what they stand for as time goes by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.traffic.host_name import covers, name_pattern
from vafw.traffic.named_addresses import LEAST_TTL_S, LONGEST_TTL_S, MOST_ADDRESSES, NamedAddresses


def test_a_name_covers_itself_and_a_star_what_lies_below() -> None:
    assert covers("www.example.com", "www.example.com")
    assert not covers("www.example.com", "a.www.example.com")
    assert covers("*.example.com", "www.example.com")
    assert covers("*.example.com", "a.b.example.com")
    assert not covers("*.example.com", "example.com")
    assert not covers("*.example.com", "badexample.com")


def test_a_name_is_brought_into_its_usual_form() -> None:
    assert name_pattern("*.Example.COM.") == "*.example.com"


@pytest.mark.parametrize(
    "text", ["example", "*", "*.com.*", "a..b", "10.0.0.1", "", "-a.example.com", "a" * 64 + ".com"]
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a host name must be like www.example.com or \*.example.com, not "):
        name_pattern(text)


def test_an_answer_holds_for_its_time_to_live_and_no_longer() -> None:
    names = NamedAddresses(["*.example.com"])
    assert names.learn("www.example.com", 4, 7, 300, now_s=0)
    assert names.holds(["*.example.com"], 4, 7, now_s=299.9)
    assert not names.holds(["*.example.com"], 4, 7, now_s=300)
    assert not names.holds(["*.example.com"], 6, 7, now_s=0)
    assert not names.holds(["*.example.org"], 4, 7, now_s=0)


def test_an_answer_about_another_name_is_not_kept() -> None:
    names = NamedAddresses(["*.example.com"])
    assert not names.learn("www.example.org", 4, 7, 300, now_s=0)
    assert len(names) == 0


@given(st.integers(0, 2**31 - 1))
def test_a_time_to_live_is_neither_too_short_to_use_nor_for_ever(ttl_s: int) -> None:
    names = NamedAddresses(["a.example"])
    names.learn("a.example", 4, 7, ttl_s, now_s=0)
    assert names.holds(["a.example"], 4, 7, now_s=LEAST_TTL_S - 1)
    assert not names.holds(["a.example"], 4, 7, now_s=LONGEST_TTL_S)


def test_a_second_answer_never_shortens_the_first() -> None:
    names = NamedAddresses(["a.example"])
    names.learn("a.example", 4, 7, 600, now_s=0)
    names.learn("a.example", 4, 7, 60, now_s=1)
    assert names.holds(["a.example"], 4, 7, now_s=599)


def test_a_flood_of_answers_is_forgotten_from_its_beginning() -> None:
    names = NamedAddresses(["*.example"])
    for address in range(MOST_ADDRESSES + 10):
        names.learn("a.example", 4, address, 60, now_s=0)
    assert len(names) == MOST_ADDRESSES
    assert not names.holds(["*.example"], 4, 9, now_s=1)
    assert names.holds(["*.example"], 4, 10, now_s=1)

"""What a program sends behind a notice waits until the firewall knows, and not for ever."""

from __future__ import annotations

import pytest

from vafw.provider.qemu.guest.held import LONGEST_S, MOST, Held
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.dns_answer import NamedAddress
from vafw.traffic.name_notice import heard, notices, read_notice

ANSWER, OTHER = (INSIDE, b"the answer"), (INSIDE, b"something else")


def notice(number: int) -> tuple[str, bytes]:
    (frame,) = notices([NamedAddress("www.example.com", 4, number, 60)])
    return OUTSIDE, frame


def test_what_has_no_notice_before_it_goes_at_once() -> None:
    held = Held()
    assert held.sends((ANSWER, OTHER), 0.0) == (ANSWER, OTHER)
    assert held.sends((ANSWER, notice(1)), 0.0) == (ANSWER, notice(1))
    assert held.sends((), 0.0) == ()
    assert (len(held), held.due_in_s(0.0)) == (0, None)


def test_an_answer_waits_until_the_firewall_heard_the_last_notice_before_it() -> None:
    held = Held()
    assert held.sends((notice(1), notice(2), ANSWER), 0.0) == (notice(1), notice(2))
    assert held.freed(OUTSIDE, heard(notice(1)[1])) is None
    assert held.freed(OUTSIDE, heard(notice(2)[1])) == (ANSWER,)
    assert held.freed(OUTSIDE, heard(notice(2)[1])) is None


def test_what_comes_in_by_another_port_frees_nothing() -> None:
    held = Held()
    held.sends((notice(1), ANSWER), 0.0)
    assert held.freed(INSIDE, heard(notice(1)[1])) is None
    assert len(held) == 1


def test_an_answer_goes_on_its_way_when_nobody_says_anything() -> None:
    held = Held()
    held.sends((notice(1), ANSWER), 0.0)
    held.sends((notice(2), OTHER), 0.5)
    assert held.due_in_s(0.25) == LONGEST_S - 0.25
    assert held.overdue(LONGEST_S - 0.01) == ()
    assert held.overdue(LONGEST_S) == (ANSWER,)
    assert held.overdue(9.0) == (OTHER,)
    assert held.due_in_s(9.0) is None


def test_two_answers_behind_the_same_notice_go_together() -> None:
    held = Held()
    held.sends((notice(1), ANSWER), 0.0)
    held.sends((notice(1), OTHER), 0.1)
    assert held.freed(OUTSIDE, heard(notice(1)[1])) == (ANSWER, OTHER)


def test_where_too_many_wait_the_first_goes() -> None:
    held = Held()
    for number in range(MOST):
        assert held.sends((notice(number), (INSIDE, b"%d" % number)), 0.0) == (notice(number),)
    assert held.sends((notice(MOST), ANSWER), 0.0) == (notice(MOST), (INSIDE, b"0"))
    assert len(held) == MOST


@pytest.mark.parametrize("number", [1, 2])
def test_what_says_that_a_notice_was_heard_is_no_notice(number: int) -> None:
    assert read_notice(heard(notice(number)[1])) is None

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.document.source import Source
from vafw.plan.list_file import WrongLine, is_host_name, listed_names


def listed(text: str) -> tuple[str, ...]:
    return listed_names(Source.of_text(text, Path("ads.txt")))


def test_names_come_in_order_in_lower_case_and_once() -> None:
    assert listed("b.example\nA.Example.  # first\n\n# nothing\nb.example\n") == ("b.example", "a.example")


def test_a_line_of_a_hosts_file_gives_all_its_names() -> None:
    assert listed("0.0.0.0 ads.example metrics.example\n::1 far.example") == (
        "ads.example",
        "metrics.example",
        "far.example",
    )


def test_a_line_that_names_no_host_is_refused() -> None:
    with pytest.raises(WrongLine) as caught:
        listed("a.example\r\n  please block this \r\n")
    assert str(caught.value.span) == "ads.txt:2:3"
    assert caught.value.span.text == "please block this"
    assert caught.value.message == "a line must hold one name, or an address and names, not 'please block this'"


@given(st.text(max_size=300))
def test_any_text_is_host_names_or_refused_and_never_something_else(text: str) -> None:
    with suppress(WrongLine):
        assert all(is_host_name(name) for name in listed(text))

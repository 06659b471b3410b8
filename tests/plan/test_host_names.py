from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.document.source import Source
from vafw.plan.host_names import NotHostNames, host_names, is_host_name


def is_name(text: str) -> bool:
    return "." not in text or not text.replace(".", "").isdigit()


def listed(text: str) -> tuple[str, ...]:
    return host_names(Source.of_text(text, Path("ads.txt")))


def test_names_come_in_order_in_lower_case_and_once() -> None:
    assert listed("b.example\nA.Example.  # first\n\n# nothing\nb.example\n") == ("b.example", "a.example")


def test_a_line_of_a_hosts_file_gives_all_its_names() -> None:
    assert listed("0.0.0.0 ads.example metrics.example\n::1 local.example") == (
        "ads.example",
        "metrics.example",
        "local.example",
    )


def test_a_name_may_stand_for_all_below_it() -> None:
    assert listed("*.tracker.example") == ("*.tracker.example",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.example\n  please block this\n", "ads.txt:2:3: a line must hold one host name, not 'please block this'"),
        ("0.0.0.0\n", "ads.txt:1:1: a line must hold one host name, not '0.0.0.0'"),
        ("-.example", "ads.txt:1:1: a line must hold one host name, not '-.example'"),
        ("a..example", "ads.txt:1:1: a line must hold one host name, not 'a..example'"),
        ("||ads.example^", "ads.txt:1:1: a line must hold one host name, not '||ads.example^'"),
    ],
)
def test_a_line_that_is_no_host_name_is_refused(text: str, message: str) -> None:
    with pytest.raises(NotHostNames) as caught:
        listed(text)
    assert str(caught.value) == message


def test_a_name_has_at_most_253_characters() -> None:
    longest = ".".join(["a" * 49] * 5) + ".abc"
    assert len(longest) == 253
    assert is_host_name(longest)
    assert not is_host_name("b" + longest[:253] + "c")


@given(st.lists(st.from_regex(r"[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){0,3}", fullmatch=True).filter(is_name)))
def test_names_that_are_written_one_a_line_are_read_back(names: list[str]) -> None:
    assert listed("\n".join(names)) == tuple(dict.fromkeys(names))


@given(st.text(max_size=300))
def test_any_text_is_host_names_or_refused_and_never_something_else(text: str) -> None:
    with suppress(NotHostNames):
        assert all(is_host_name(name) for name in listed(text))

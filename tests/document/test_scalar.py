from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.document.scalar import Unresolvable, plain_value, tagged_value

# YAML 1.2.2, 10.3.2 "Tag Resolution", as printed there
NULL = r"null|Null|NULL|~|"
BOOL = r"true|True|TRUE|false|False|FALSE"
INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"


def kind_of(text: str) -> str:
    try:
        return type(plain_value(text)).__name__
    except Unresolvable as problem:
        return str(problem)


def kind_by_the_specification(text: str) -> str:
    table = (("NoneType", NULL), ("bool", BOOL), ("int", INT), ("float", FLOAT))
    return next((name for name, pattern in table if re.fullmatch(pattern, text)), "str")


@given(
    st.text(alphabet="0123456789abcdefxoeE+-._:~ntrulsNaIif", max_size=12)
    | st.from_regex(f"^({INT}|{FLOAT})$", fullmatch=True).filter(lambda text: len(text) < 20)
    | st.sampled_from(["null", "Null", "NULL", "~", "", "true", "True", "FALSE", ".inf", "-.INF", ".nan", "nULL"])
)
def test_a_plain_scalar_has_the_type_of_the_core_schema(text: str) -> None:
    assert kind_of(text) in (kind_by_the_specification(text), f"the number {text} is too large")


@pytest.mark.parametrize(
    "text",
    ["NO", "no", "yes", "on", "off", "Y", "12:34:56", "1_000", "0b11", "2026-11-22", "1.2.3", "-", "0x", "<<", "="],
)
def test_what_was_no_text_in_yaml_1_1_is_text(text: str) -> None:
    assert plain_value(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("0o17", 15), ("017", 17), ("0x1F", 31), ("-12", -12), ("+3", 3), ("1.10", 1.1), ("1e3", 1000.0), (".5", 0.5)],
)
def test_numbers_are_read_as_written(text: str, value: float) -> None:
    assert plain_value(text) == value


def test_infinity_and_not_a_number_are_floats() -> None:
    assert plain_value("-.inf") == -math.inf
    assert str(plain_value(".nan")) == "nan"


def test_a_number_beyond_a_double_is_refused() -> None:
    with pytest.raises(Unresolvable, match=r"^the number 1e309 is too large$"):
        plain_value("1e309")


def test_a_number_of_five_thousand_digits_is_refused() -> None:
    with pytest.raises(Unresolvable, match=r"^a number must have at most 64 characters, not 5000$"):
        plain_value("9" * 5000)


def test_core_tags_are_obeyed() -> None:
    assert tagged_value("12", "tag:yaml.org,2002:str") == "12"
    assert tagged_value("12", "!") == "12"
    assert tagged_value("12", "tag:yaml.org,2002:int") == 12


def test_a_tag_that_does_not_fit_is_refused() -> None:
    with pytest.raises(Unresolvable, match=r"^the tag !!int does not fit the value$"):
        tagged_value("true", "tag:yaml.org,2002:int")

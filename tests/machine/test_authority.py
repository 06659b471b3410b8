"""Whose signatures are enough: every small case, against a second implementation that counts differently."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.machine.authority import Authority, NotAuthorised

PEOPLE = {"anna": "A", "ben": "B", "carla": "C"}
WHAT = "a change to generation 1.2 of firewall"


def enough(required: int, people: dict[str, str], keys: tuple[str, ...]) -> bool:
    """The rule once more: all keys are of people, none comes twice, and there are so many of them."""
    owners = Counter(name for key in keys for name, own in people.items() if own == key)
    return sum(owners.values()) == len(keys) and max(owners.values(), default=0) <= 1 and len(owners) >= required


def allowed(authority: Authority, keys: tuple[str, ...]) -> bool:
    try:
        names = authority.signers(keys, WHAT)
    except NotAuthorised:
        return False
    assert sorted(authority.people[name] for name in names) == sorted(keys)
    return True


@pytest.mark.parametrize("required", [1, 2, 3, 4])
def test_signatures_are_enough_exactly_where_they_are_counted_to_be(required: int) -> None:
    authority = Authority(required, PEOPLE)
    every = [keys for length in range(5) for keys in product("ABCX", repeat=length)]
    assert [allowed(authority, keys) for keys in every] == [enough(required, PEOPLE, keys) for keys in every]
    assert sum(allowed(authority, keys) for keys in every) == {1: 15, 2: 12, 3: 6, 4: 0}[required]


@given(
    st.integers(1, 16),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.sampled_from("ABCDEFG"), max_size=6),
    st.lists(st.sampled_from("ABCDEFGX"), max_size=8).map(tuple),
)
def test_no_more_is_ever_allowed_than_is_counted(required: int, people: dict[str, str], keys: tuple[str, ...]) -> None:
    distinct = dict(zip(people.values(), people, strict=True))
    one_key_each = {name: key for key, name in distinct.items()}
    authority = Authority(required, one_key_each)
    assert allowed(authority, keys) == enough(required, one_key_each, keys)


@pytest.mark.parametrize(
    ("keys", "people", "said"),
    [
        ("", PEOPLE, f"{WHAT} must be signed by 2 of anna, ben, carla, and is signed by nobody"),
        ("B", PEOPLE, f"{WHAT} must be signed by 2 of anna, ben, carla, and is signed by ben"),
        ("BB", PEOPLE, f"{WHAT} must be signed by each person once, and ben signed twice"),
        ("ABX", PEOPLE, f"{WHAT} must be signed by 2 of anna, ben, carla, not by another key"),
        ("ABD", PEOPLE, f"{WHAT} must be signed by 2 of anna, ben, carla, not by dora"),
        ("A", {}, f"{WHAT} must be somebody's to make, and the policy names nobody who may"),
    ],
)
def test_what_is_not_enough_is_refused(keys: str, people: dict[str, str], said: str) -> None:
    with pytest.raises(NotAuthorised) as refused:
        Authority(2, people).signers(keys, WHAT, {"dora": "D"})
    assert refused.value.message == said


def test_it_survives_json_and_anything_else_is_no_authority() -> None:
    authority = Authority(2, PEOPLE)
    assert Authority.from_json(authority.to_json()) == authority
    for wrong in (0, 17, True, "2", 1.0):
        with pytest.raises(ValueError, match=r"^required must be an integer from 1 to 16, not "):
            Authority.from_json({"required": wrong, "people": {}})

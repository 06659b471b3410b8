from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from vafw.control.topics import (
    ASK,
    ATTEST_LEAVES,
    AVAIL,
    CONTROLLER,
    DESIRED,
    EVENT,
    LEAVES,
    REPORTED,
    Leaf,
    Place,
    TopicInvalid,
    access_list,
    attest_place,
    attest_topic,
    covers,
    every,
    may_read,
    may_write,
    page,
    place,
    platform_level,
    topic,
    verifier_access_list,
)

GOLDEN = Path(__file__).parent / "golden"
LEVELS = st.sampled_from(["a", "b", "", "+"])
NAMES = st.lists(LEVELS.filter(lambda level: level != "+"), min_size=1, max_size=4)


def test_the_access_list_is_the_table() -> None:
    assert access_list("office-laptop") == (GOLDEN / "access").read_text()


def test_the_access_list_of_a_verifiers_broker_is_the_table() -> None:
    assert verifier_access_list() == (GOLDEN / "verifier-access").read_text()


def test_the_tables_share_no_leaf_so_that_a_topology_may_be_called_attest() -> None:
    assert not {leaf.name for leaf in LEAVES} & {leaf.name for leaf in ATTEST_LEAVES}
    assert all(place(attest_topic("lab", leaf)) is None for leaf in ATTEST_LEAVES)


@given(st.text(min_size=1, max_size=20), st.sampled_from(ATTEST_LEAVES))
def test_a_platforms_topic_is_taken_apart_as_it_was_made(platform: str, leaf: Leaf) -> None:
    assert attest_place(attest_topic(platform, leaf)) == (platform_level(platform), leaf)


@pytest.mark.parametrize(
    "name",
    ["", "vafw/1/attest/ask", "vafw/1/attest//ask", "vafw/1/attest/+/ask", "vafw/1/attest/a/b/ask",
     "vafw/1/attest/pc/secret", "vafw/2/attest/pc/ask", f"/{attest_topic('pc', ASK)}"],
)  # fmt: skip
def test_what_is_not_in_the_verifiers_table_is_no_topic(name: str) -> None:
    assert attest_place(name) is None


def test_the_page_is_the_table() -> None:
    assert (ROOT / "docs" / "mqtt-topics.md").read_text() == page()


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_a_topic_is_taken_apart_as_it_was_made(leaf: Leaf) -> None:
    assert place(topic("lab", "firewall", leaf)) == Place("lab", "firewall", leaf)


@pytest.mark.parametrize(
    "name",
    ["", "vafw/1/lab/firewall", "vafw/2/lab/firewall/desired", "vafw/1/lab/fire/wall/desired", "vafw/1/+/x/desired",
     "vafw/1/lab/firewall/secret", "/vafw/1/lab/firewall/desired", "vafw/1/lab/../desired"],
)  # fmt: skip
def test_what_is_not_in_the_table_is_no_topic(name: str) -> None:
    assert place(name) is None


@pytest.mark.parametrize("name", ["", "+", "#", "../x", "Firewall", "a/b", "x" * 64, "-a", "a\n"])
def test_a_name_that_cannot_be_a_level_is_refused(name: str) -> None:
    with pytest.raises(TopicInvalid, match="an appliance must be lower-case letters, digits and hyphens, 63 at most"):
        topic("lab", name, DESIRED)


@pytest.mark.parametrize(
    ("identity", "name", "allowed"),
    [
        (CONTROLLER, topic("lab", "firewall", DESIRED), True),
        (CONTROLLER, topic("lab", "firewall", REPORTED), False),
        (CONTROLLER, topic("elsewhere", "firewall", DESIRED), False),
        ("firewall", topic("lab", "firewall", REPORTED), True),
        ("firewall", topic("lab", "firewall", EVENT), True),
        ("firewall", topic("lab", "firewall", AVAIL), True),
        ("firewall", topic("lab", "firewall", DESIRED), False),
        ("firewall", topic("lab", "dns", REPORTED), False),
        ("firewall", every("lab", REPORTED), False),
        ("+", topic("lab", "firewall", REPORTED), False),
        ("", topic("lab", "firewall", REPORTED), False),
        ("firewall", "$SYS/broker", False),
    ],
)
def test_who_may_write_what(identity: str, name: str, allowed: bool) -> None:
    assert may_write(identity, "lab", name) is allowed


@pytest.mark.parametrize(
    ("identity", "wanted", "allowed"),
    [
        (CONTROLLER, every("lab", REPORTED), True),
        (CONTROLLER, topic("lab", "dns", AVAIL), True),
        (CONTROLLER, every("lab", DESIRED), False),
        (CONTROLLER, "vafw/1/lab/+/#", False),
        ("firewall", topic("lab", "firewall", DESIRED), True),
        ("firewall", topic("lab", "dns", DESIRED), False),
        ("firewall", every("lab", DESIRED), False),
        ("firewall", "#", False),
        ("firewall", "+/+/+/+/+", False),
        ("firewall", "$SYS/#", False),
        ("firewall", "", False),
    ],
)
def test_who_may_read_what(identity: str, wanted: str, allowed: bool) -> None:
    assert may_read(identity, "lab", wanted) is allowed


@pytest.mark.parametrize(
    ("allowed", "wanted", "covered"),
    [
        ("a/+", "a/#", False),
        ("a/#", "a/+", True),
        ("a/#", "a", True),
        ("+", "#", False),
        ("#", "#", True),
        ("a/b", "a/+", False),
        ("a/+", "a/b/c", False),
        ("a/+/c", "a/+/c", True),
    ],
)
def test_a_filter_covers_another(allowed: str, wanted: str, covered: bool) -> None:
    assert covers(allowed, wanted) is covered


def matches(name: list[str], wanted: list[str]) -> bool:
    """Whether a filter matches a topic, as MQTT 3.1.1, 4.7 says it, level by level."""
    if not wanted or not name:
        return wanted in ([], ["#"]) and not name
    return wanted[0] == "#" or (wanted[0] in ("+", name[0]) and matches(name[1:], wanted[1:]))


FILTERS = st.tuples(st.lists(LEVELS, max_size=3), st.sampled_from([["#"], ["a"], ["+"]])).map(
    lambda two: two[0] + two[1]
)


@given(FILTERS, FILTERS, NAMES)
def test_what_a_covered_filter_matches_the_covering_one_matches_too(
    allowed: list[str], wanted: list[str], name: list[str]
) -> None:
    covered = covers("/".join(allowed), "/".join(wanted))
    assert not (covered and matches(name, wanted)) or matches(name, allowed)

"""Verdict maps keep first-match order, whatever overlaps; edits change what differs and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traffic.kernel_router import in_router, kernel_router, missing
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE
from vafw.traffic.boxes import Box
from vafw.traffic.nftables.rendering import nftables_table, nftables_text
from vafw.traffic.nftables.table import Chain, Table, VerdictMap
from vafw.traffic.nftables.verdict_maps import cut_into_levels
from vafw.traffic.packet import TCP, ServiceMatch
from vafw.traffic.rule import Action, Rule, Ruleset, Selector

spans = st.tuples(st.integers(0, 7), st.integers(0, 7)).map(lambda each: (min(each), max(each)))
boxes = st.lists(st.tuples(spans, spans, spans).map(lambda each: (*each[0], *each[1], *each[2])), max_size=12)
points = st.tuples(*(st.integers(0, 7) for _ in range(3)))
ANY = (Selector(None, AddressSet.everything()),)


def holds(box: Box, point: tuple[int, ...]) -> bool:
    return all(box[2 * at] <= each <= box[2 * at + 1] for at, each in enumerate(point))


@given(boxes, st.lists(points, max_size=30))
def test_the_first_level_that_answers_names_the_first_rule_that_matches(
    made: list[Box], asked: list[tuple[int, ...]]
) -> None:
    levels = list(cut_into_levels(made, range(len(made))))
    for point in asked:
        answers = [owner for level in levels for box, owner in level if holds(box, point)]
        assert answers[:1] == [at for at, box in enumerate(made) if holds(box, point)][:1]


@given(boxes)
def test_no_two_elements_of_a_level_overlap(made: list[Box]) -> None:
    for level in cut_into_levels(made, range(len(made))):
        for at, (one, _) in enumerate(level):
            assert not any(
                all(one[d] <= two[d + 1] and two[d] <= one[d + 1] for d in (0, 2, 4)) for two, _ in level[:at]
            )


def many(count: int) -> Ruleset:
    return Ruleset(
        tuple(
            Rule(
                f"r{number}",
                ANY,
                (
                    Selector(
                        None,
                        AddressSet.from_texts([f"10.{number % 250}.{number // 250}.0/24", f"fd00:{number:x}::/32"]),
                    ),
                ),
                (ServiceMatch(TCP, ((443, 443),)),),
                Action.ACCEPT if number % 3 else Action.REJECT,
            )
            for number in range(count)
        ),
        Action.DROP,
    )


def test_many_rules_become_one_lookup_for_each_family() -> None:
    table = nftables_table(many(1000), inside="in0", outside="out0")
    assert {name: len(found.elements) for name, found in table.maps.items()} == {
        "run0-v4-any-tcp-0": 1000, "run0-v6-any-tcp-0": 1000,
    }  # fmt: skip
    assert sum("vmap" in rule for rule in table.chains["forward"].rules) == 2


def test_a_rule_with_a_condition_stands_where_first_match_wants_it() -> None:
    rules = list(many(100).rules)
    rules[50] = replace(rules[50], log=True, action=Action.LOG)
    lines = nftables_table(Ruleset(tuple(rules), Action.DROP), inside="in0", outside="out0").chains["forward"].rules
    order = [line.rpartition("@")[2].partition("-")[0] if "vmap" in line else "r50" for line in lines[4:-1]]
    assert list(dict.fromkeys(order)) == ["run0", "r50", "run2"]


def test_an_edit_of_one_rule_is_one_element_out_and_one_in() -> None:
    old = many(200)
    new = replace(old, rules=(*old.rules[:7], replace(old.rules[7], action=Action.DROP), *old.rules[8:]))
    edit = nftables_table(new, inside="a", outside="b").edit_from(nftables_table(old, inside="a", outside="b"))
    assert edit.splitlines() == [
        "delete element inet vafw run0-v4-any-tcp-0 { 0.0.0.0/0 . 10.7.0.0/24 . 443 }",
        'add element inet vafw run0-v4-any-tcp-0 { 0.0.0.0/0 . 10.7.0.0/24 . 443 comment "r7" : drop }',
        "delete element inet vafw run0-v6-any-tcp-0 { ::/0 . fd00:7::/32 . 443 }",
        'add element inet vafw run0-v6-any-tcp-0 { ::/0 . fd00:7::/32 . 443 comment "r7" : drop }',
    ]


def test_equal_tables_need_no_edit() -> None:
    table = nftables_table(many(100), inside="in0", outside="out0")
    assert table.edit_from(table) == ""


def test_an_edit_of_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^an edit must be of one table, not from inet one to two$"):
        Table("inet", "two").edit_from(Table("inet", "one"))


def test_a_chain_that_hangs_elsewhere_is_loaded_whole() -> None:
    old = Table("inet", "t", chains={"c": Chain((), "type filter hook input priority 0; policy drop;")})
    new = Table("inet", "t", chains={"c": Chain((), "type filter hook forward priority 0; policy drop;")})
    assert new.edit_from(old) == new.text()


def test_a_ruleset_with_translation_needs_addresses() -> None:
    from vafw.traffic.nat import Nat

    with pytest.raises(ValueError, match=r"^a firewall without addresses of its own must have no nat$"):
        nftables_text(Ruleset((), Action.DROP, nat=Nat(AddressSet.everything())), inside="a", outside="b")


@pytest.mark.root
@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_the_kernel_takes_an_edit_for_the_whole() -> None:
    changed = [many(300), many(250), Ruleset(many(40).rules, Action.REJECT), many(90), many(120)]
    middle = replace(changed[3].rules[40], action=Action.LOG, log=True)
    changed.append(Ruleset((*changed[3].rules[:40], middle, *changed[3].rules[41:]), Action.DROP))
    user = Rule("user", (Selector(INSIDE, AddressSet.everything()),), ANY, (), Action.ACCEPT)
    changed.append(Ruleset((user, *changed[4].rules), Action.DROP))
    tables = [nftables_table(each, inside="in0", outside="out0") for each in changed]
    with kernel_router(tables[0].text(), inside=()):
        for old, new in pairwise(tables):
            in_router("nft", "-f", "-", text=new.edit_from(old))
            edited = in_router("nft", "-s", "list", "ruleset")
            in_router("nft", "-f", "-", text=new.text())
            whole = in_router("nft", "-s", "list", "ruleset")
            assert sorted(edited.split("\n")) == sorted(whole.split("\n"))


def test_a_map_is_written_with_its_rules_names() -> None:
    table = Table(
        "inet", "t", maps={"m": VerdictMap("ip saddr . th dport", {"10.0.0.1 . 80": 'comment "web" : accept'})}
    )
    assert '10.0.0.1 . 80 comment "web" : accept' in table.text()

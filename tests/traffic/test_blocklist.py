from __future__ import annotations

import pytest

from vafw.traffic.blocklist import BlockList, names_in


def test_lists_of_all_three_kinds_are_read() -> None:
    lines = ["# remark", "0.0.0.0 ads.example localhost", "Plain.Example.", "||filter.example^", "! remark", ""]
    assert names_in(lines) == ("ads.example", "plain.example", "filter.example")


def test_a_name_blocks_everything_below_it_but_what_is_allowed() -> None:
    names = BlockList(frozenset({"ads.example"}), frozenset({"good.ads.example"}))
    assert names.blocking("a.b.ads.example") == "ads.example"
    assert names.blocking("notads.example") is None
    assert names.blocking("x.good.ads.example") is None


def test_a_filter_that_is_no_whole_host_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^line 2: a filter must name a whole host, such as \|\|ads\.example\^, not "):
        names_in(["ok.example", "||ads.example/path"])

"""What is to be in the kernel's sets for host names, as text; and what a kernel makes of that text."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.traffic.kernel_router import missing
from vafw.provider.qemu.guest.named_sets import NamedSets
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.dns_answer import NamedAddress
from vafw.traffic.name_notice import notices
from vafw.traffic.nftables.rendering import nftables_table
from vafw.traffic.nftables.table import Table
from vafw.traffic.rule import Action, Rule, Ruleset, Selector

USER = (Selector(INSIDE, AddressSet.everything()),)
PUBLIC = AddressSet.from_texts(["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"])
SPACE = "vafw-named-sets"


def named(*patterns: str) -> Ruleset:
    rules = (
        Rule(f"r{at}", USER, (Selector(None, PUBLIC, (each,)),), (), Action.ACCEPT) for at, each in enumerate(patterns)
    )
    return Ruleset(tuple(rules), Action.DROP)


def table(ruleset: Ruleset) -> Table:
    return nftables_table(ruleset, inside=INSIDE, outside=OUTSIDE, family="bridge")


def sets(*patterns: str) -> NamedSets:
    return NamedSets(named(*patterns), table(named(*patterns)))


def notice(name: str, *addresses: str, ttl_s: int = 300) -> bytes:
    found = map(ip_address, addresses)
    (frame,) = notices(NamedAddress(name, each.version, int(each), ttl_s) for each in found)
    return frame


def test_an_address_of_a_name_is_put_into_the_sets_of_every_pattern_that_covers_it() -> None:
    made = sets("*.example.com", "www.example.com")
    assert made.learn(notice("www.example.com", "198.51.100.10", "2001:db8::10"), 5.0)
    assert [line for line in made.edit(5.0).splitlines() if line.startswith("add")][:4] == [
        "add element bridge vafw name-0-v4 { 198.51.100.10 timeout 300000ms }",
        "add element bridge vafw name-1-v4 { 198.51.100.10 timeout 300000ms }",
        "add element bridge vafw name-0-v6 { 2001:db8::10 timeout 300000ms }",
        "add element bridge vafw name-1-v6 { 2001:db8::10 timeout 300000ms }",
    ]


def test_each_element_is_added_deleted_and_added_so_that_it_is_prolonged() -> None:
    made = sets("*.example.com")
    made.learn(notice("a.example.com", "192.0.2.1", ttl_s=1), 0.0)
    add = "add element bridge vafw name-0-v4 { 192.0.2.1 timeout 60000ms }\n"
    assert made.edit(0.0) == f"{add}delete element bridge vafw name-0-v4 {{ 192.0.2.1 }}\n{add}"


def test_what_is_known_for_as_long_already_is_not_written_again() -> None:
    made = sets("*.example.com")
    made.learn(notice("a.example.com", "192.0.2.1", ttl_s=900), 0.0)
    made.edit(0.0)
    made.learn(notice("a.example.com", "192.0.2.1", ttl_s=60), 10.0)
    assert made.edit(10.0) == ""
    made.learn(notice("a.example.com", "192.0.2.1", ttl_s=900), 20.0)
    assert "timeout 900000ms" in made.edit(20.0)


def test_an_address_that_the_rule_does_not_allow_and_a_name_that_none_speaks_of_change_nothing() -> None:
    made = sets("*.example.com")
    assert made.learn(notice("a.example.com", "10.0.0.1", "fd00::1"), 0.0)
    assert made.learn(notice("example.com", "192.0.2.1"), 0.0)
    assert made.edit(0.0) == ""


@pytest.mark.parametrize(
    "broken",
    [
        lambda frame: frame[:-1],
        lambda frame: frame.replace(b"vafw-names1", b"vafw-names2"),
        lambda frame: frame[:12] + b"\x81\x00\x00\x00" + frame[12:],
        lambda frame: b"",
    ],
)
def test_a_frame_that_is_no_whole_notice_changes_nothing(broken: Callable[[bytes], bytes]) -> None:
    made = sets("*.example.com")
    assert not made.learn(broken(notice("a.example.com", "192.0.2.1")), 0.0)
    assert made.edit(0.0) == ""


def test_the_next_table_begins_with_what_is_known_of_names_that_are_in_both() -> None:
    made, after = sets("*.example.com", "www.example.org"), named("www.example.net", "*.example.com")
    made.learn(notice("a.example.com", "192.0.2.1", ttl_s=100), 0.0)
    made.learn(notice("www.example.org", "192.0.2.2", ttl_s=100), 0.0)
    made.edit(0.0)
    follower = made.followed_by(after, table(after))
    assert follower.whole(40.0) == "add element bridge vafw name-1-v4 { 192.0.2.1 timeout 60000ms }\n"
    assert follower.edit(40.0) == ""


def test_an_address_that_has_ended_is_not_put_into_the_next_table() -> None:
    made = sets("*.example.com")
    made.learn(notice("a.example.com", "192.0.2.1", ttl_s=60), 0.0)
    assert made.whole(60.0) == ""


def test_the_report_counts_what_the_kernel_holds() -> None:
    made = sets("*.example.com", "www.example.org")
    listed = {"name-0-v4": [{"expires": 40}, {"expires": 90}], "name-0-v6": [{"expires": 50}], "name-1-v4": []}
    assert made.report(listed) == {
        "*.example.com": {"addresses": 3, "for-s": 90},
        "www.example.org": {"addresses": 0, "for-s": 0},
    }


@pytest.fixture
def kernel() -> Iterator[Callable[[str], Any]]:
    if why := missing():
        pytest.skip(why)
    subprocess.run(["ip", "netns", "delete", SPACE], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "add", SPACE], check=True)

    def load(text: str) -> Any:
        inside = ["ip", "netns", "exec", SPACE, "nft"]
        subprocess.run([*inside, "-f", "-"], input=text, text=True, check=True)
        listed = subprocess.run([*inside, "-j", "list", "sets"], capture_output=True, text=True, check=True).stdout
        found = [each["set"] for each in json.loads(listed)["nftables"] if "set" in each]
        return {each["name"]: {e["elem"]["val"]: e["elem"]["timeout"] for e in each.get("elem", ())} for each in found}

    yield load
    subprocess.run(["ip", "netns", "delete", SPACE], check=True)


@pytest.mark.root
def test_a_kernel_takes_the_text_and_prolongs_what_is_there(kernel: Callable[[str], Any]) -> None:
    ruleset = named("*.example.com")
    routed = nftables_table(ruleset, inside=INSIDE, outside=OUTSIDE)
    made = NamedSets(ruleset, routed)
    made.learn(notice("a.example.com", "192.0.2.1", "2001:db8::1", ttl_s=100), 0.0)
    assert kernel(routed.text() + made.whole(0.0))["name-0-v4"] == {"192.0.2.1": 100}
    made.learn(notice("b.example.com", "192.0.2.1", "192.0.2.2", ttl_s=900), 10.0)
    assert kernel(made.edit(10.0)) == {
        "name-0-v4": {"192.0.2.1": 900, "192.0.2.2": 900},
        "name-0-v6": {"2001:db8::1": 100},
    }
    assert kernel(made.anew(40.0)) == {
        "name-0-v4": {"192.0.2.1": 870, "192.0.2.2": 870},
        "name-0-v6": {"2001:db8::1": 60},
    }

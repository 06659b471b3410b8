"""The kiosk: nothing of the user's gets out, whatever it sends; what the proxy may ask for stands in the documents."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Vafw
from vafw.control.change import Change, changed, config_of
from vafw.document.load import DocumentSet, load_topology
from vafw.plan.compile import check
from vafw.plan.rules import compile_rules
from vafw.traffic.address_set import AddressSet
from vafw_appliances.proxy.guest import create

FOLDER = ROOT / "policies" / "kiosk"
CONFIG = {
    "addresses": ["10.0.0.3/24", "2001:db8:a::3/64"],
    "gateway": ["10.0.0.1", "2001:db8:a::1"],
    "resolvers": ["10.0.0.1", "2001:db8:a::1"],
    "port": 3128,
    "allow": ["www.example.com", "*.library.example.org"],
    "block": [],
    "clients": ["10.0.0.2/32", "2001:db8:a::2/128"],
}


def documents(folder: Path = FOLDER) -> DocumentSet:
    return load_topology(folder / "topology.yaml", environment={})


def edited(folder: Path, file: str, *edits: tuple[str, str]) -> list[str]:
    """What is wrong with the kiosk once some texts in one of its files are others."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    text = (folder / file).read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (folder / file).write_text(text)
    return [f"{each.code}: {each.message}" for each in check(documents(folder))]


def test_the_proxy_is_configured_as_a_host_beside_the_user() -> None:
    config = config_of(documents(), "proxy")
    assert {key: value for key, value in config.items() if key != "mac"} == CONFIG
    assert int(str(config["mac"])[:2], 16) & 3 == 2
    assert create(config).probe()[0]


def test_the_inside_may_send_from_the_users_and_the_proxys_addresses_and_no_others() -> None:
    inside = compile_rules(documents()).inside
    assert inside == AddressSet.from_texts(["10.0.0.2/31", "2001:db8:a::2/127"])


def test_a_site_that_is_blocked_later_is_blocked_with_all_below_it() -> None:
    after = changed(documents(), "proxy", Change.parse("config.block=[www.example.com]"))
    assert config_of(after, "proxy") == config_of(documents(), "proxy") | {"block": ["*.www.example.com"]}


def test_where_the_proxy_may_go_anywhere_it_is_proven_that_it_can(tmp_path: Path) -> None:
    assert edited(
        tmp_path / "copy",
        "policy.yaml",
        ("from: proxy, to: library,", "from: proxy, to: internet,"),
        ("    library: [www.example.com, library.example.org, \"*.library.example.org\"]\n", "    all: [192.0.2.1]\n"),
        ("    - never: {from: user-os, to: any}\n",
         "    - never: {from: user-os, to: any}\n    - always: {from: proxy, to: internet, service: https}\n"),
    ) == []  # fmt: skip


def test_a_rule_that_lets_the_user_past_the_proxy_breaks_the_proof(tmp_path: Path) -> None:
    found = edited(
        tmp_path / "copy", "policy.yaml", ("name: library, from: proxy,", "name: library, from: [proxy, user-os],")
    )
    assert found == ["VAFW-P020: no packet of this clause must pass, and 'library' lets one through"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("dns, proxy, user-os]", "dns, user-os]",
         ["VAFW-T014: the inline appliance 'proxy' must stand in the path",
          "VAFW-T095: a proxy must stand in the path between the firewall and the user OS, and 'proxy' does not"]),
        ("[10.0.0.3/24, ", "[10.0.0.3/32, ",
         ["VAFW-T094: a proxy must have a gateway of the user's in its network, and 10.0.0.3/32 holds none"]),
    ],
)  # fmt: skip
def test_a_proxy_that_could_not_do_its_work_is_refused(tmp_path: Path, old: str, new: str, found: list[str]) -> None:
    about = edited(tmp_path / "copy", "topology.yaml", (old, new))
    assert [each for each in about if each.startswith("VAFW-T")] == found


def test_a_person_sees_what_the_proxy_was_asked_for(vafw: Vafw) -> None:
    out = vafw("up", FOLDER / "topology.yaml", "--script", FOLDER / "script.yaml", "--until-idle").out
    table = out[out.index("proxy: latest 3 of 3 requests") :].splitlines()
    assert [line.split() for line in table[3:6]] == [
        ["GET", "www.example.com:80", "→", "allowed", "allow", "www.example.com"],
        ["CONNECT", "www.example.com:443", "→", "allowed", "allow", "www.example.com"],
        ["GET", "news.example.org:80", "✗", "blocked", "not", "in", "allow"],
    ]


def test_what_squid_would_get_names_the_same_sites(vafw: Vafw) -> None:
    lines: Any = vafw("policy", "compile", FOLDER / "topology.yaml", "--target", "squid").out.splitlines()
    assert [line for line in lines if line.startswith("acl allowed")] == [
        "acl allowed dstdomain .library.example.org",
        "acl allowed dstdomain www.example.com",
    ]

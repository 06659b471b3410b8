"""The road warrior: everything through the tunnel, to a far end at the modelled wire, and nothing without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.appliances.vpn_far_end import FarEnd
from tests.conftest import ROOT, Vafw
from vafw.document.load import load_topology
from vafw.plan.compile import check
from vafw.provider import peer

FOLDER = ROOT / "policies" / "road-warrior"


def reports(vafw: Vafw) -> dict[str, Any]:
    """What the VMs say after the evening at the hotel."""
    done = vafw("up", FOLDER / "topology.yaml", "--script", FOLDER / "script.yaml", "--until-idle", "--json")
    return {vm["name"]: vm["appliance"] for vm in json.loads(done.out)["data"]["vms"]}


def edited(folder: Path, file: str, old: str, new: str) -> list[str]:
    """What `vafw check` says of the policy once one text in one of its files is another."""
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    return [f"{each.code}: {each.message}" for each in check(load_topology(folder / "topology.yaml", environment={}))]


def test_with_a_far_end_the_user_reaches_the_internet_and_the_wire_sees_the_tunnel_alone(
    vafw: Vafw, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = FarEnd()
    monkeypatch.setattr(peer, "Peer", lambda: far)
    told = reports(vafw)
    assert [step["outcome"] for step in told["user-os"]["steps"]] == ["ok", "ok", "refused"]
    assert told["vpn"]["tunnels"] == {"office": {"up": True, "handshakes": 1, "refused": 0}}
    assert {IP(each).src for each in far.carried} == {"10.66.0.2"}
    wire = [Ether(each) for each in far.seen]
    assert {each[IP].dst for each in wire if ARP not in each} == {"198.51.100.7"}
    assert {(each[UDP].sport, each[UDP].dport) for each in wire if UDP in each} == {(51820, 51820)}
    assert not [each for each in far.seen if b"example" in each]


def test_without_a_far_end_nothing_but_handshakes_leaves(vafw: Vafw) -> None:
    vpn = reports(vafw)["vpn"]
    assert vpn["tunnels"]["office"] == {"up": False, "handshakes": 0, "refused": 0}
    assert not [each for each in vpn["packets"] if each.startswith("passed")]


def test_what_lies_behind_no_peer_is_proven_never_to_pass(tmp_path: Path) -> None:
    (found,) = edited(tmp_path / "copy", "topology.yaml", '[0.0.0.0/0, "::/0"]', "[10.77.0.0/16]")
    assert found == "VAFW-P021: every packet of this clause must pass, and '(kill switch)' stops one"


def test_a_vpn_that_the_path_leaves_out_is_refused(tmp_path: Path) -> None:
    found = edited(tmp_path / "copy", "topology.yaml", "path: [nic, vpn, firewall", "path: [nic, firewall")
    assert "VAFW-T014: the inline appliance 'vpn' must stand in the path" in found
    assert "VAFW-P029: via must name an appliance of the path, not 'vpn'" in found


def test_a_way_round_the_vpn_is_refused(tmp_path: Path) -> None:
    found = edited(tmp_path / "copy", "topology.yaml", "firewall: {use: firewall, memory: 256 MiB}",
                   "firewall: {use: firewall, memory: 256 MiB, assign: [nic]}")  # fmt: skip
    assert [each for each in found if each.startswith("VAFW-P027")] == [
        "VAFW-P027: whatever packet of this clause gets through must pass 'vpn', and one gets round it"
    ] * 2


def test_a_kill_switch_that_is_off_is_refused(tmp_path: Path) -> None:
    found = edited(tmp_path / "copy", "topology.yaml", "      peers:\n", "      kill-switch: false\n      peers:\n")
    assert found == ["VAFW-T088: the kill switch of a VPN must be on, and that of 'vpn' is off"]


def test_a_vpn_without_a_tunnel_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "topology.yaml").read_text()
    section = text[text.index("    vpn:\n      addresses") : text.index("  firewall: {use")]
    found = edited(tmp_path / "copy", "topology.yaml", section, "")
    assert "VAFW-T087: a VPN must have a section vpn:, and 'vpn' has none" in found


def test_what_a_linux_machine_would_get_has_the_kill_switch_before_the_interface(vafw: Vafw) -> None:
    out = vafw("policy", "compile", FOLDER / "topology.yaml", "--target", "wireguard").out
    assert "policy drop" in out[: out.index("PostUp")]
    assert "PrivateKey" not in out


def test_the_office_need_not_be_told_another_key_after_a_restart(vafw: Vafw) -> None:
    assert len({reports(vafw)["vpn"]["public-key"] for _ in range(2)}) == 1


def test_a_key_that_is_to_be_fresh_is_another_after_a_restart(vafw: Vafw, tmp_path: Path) -> None:
    assert edited(tmp_path / "copy", "topology.yaml", "    vpn:\n", "    vpn:\n      key: fresh\n") == []
    keys = set()
    for _ in range(2):
        done = vafw("up", tmp_path / "copy" / "topology.yaml", "--until-idle", "--json")
        vpn = next(vm for vm in json.loads(done.out)["data"]["vms"] if vm["name"] == "vpn")
        keys.add(vpn["appliance"]["public-key"])
    assert len(keys) == 2

"""`vafw policy`: questions that documents answer, word for word as golden files have it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.cli.test_documents import alter, data
from tests.conftest import ROOT, Vafw
from vafw.document.load import load_topology
from vafw.errors import ExitCode
from vafw.plan.rules import compile_rules
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.pcap import read_capture

GOLDEN = Path(__file__).parent / "golden"


def pinned(name: str, text: str, lab: Path) -> None:
    """Compare with a golden file; write it anew where VAFW_WRITE_GOLDEN is set."""
    found = text.replace(f"{lab.parent}/", "")
    if os.environ.get("VAFW_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(found)
    assert found == (GOLDEN / name).read_text()


def test_every_proof_of_the_shipped_policy_holds(vafw: Vafw, lab: Path) -> None:
    done = vafw("policy", "test", lab)
    assert (done.code, done.err) == (ExitCode.DONE, "4 of 4 clauses hold for every packet\n")
    pinned("policy-test.txt", done.out, lab)


def test_a_proof_that_breaks_shows_a_packet_the_hop_and_both_places(vafw: Vafw, lab: Path) -> None:
    alter(lab.parent / "policy.yaml", "to: private, action: reject", "to: special, action: reject")
    done = vafw("policy", "test", lab)
    assert done.code == ExitCode.REFUSED
    pinned("policy-test-broken.txt", done.out + done.err, lab)


def test_a_proof_that_breaks_is_json_too(vafw: Vafw, lab: Path) -> None:
    alter(lab.parent / "policy.yaml", "to: private, action: reject", "to: special, action: reject")
    document = json.loads(vafw("policy", "test", lab, "--json").out)
    assert (document["kind"], document["exit"]) == ("PolicyTest", {"code": 22, "class": "refused"})
    assert [each["holds"] for each in document["data"]["clauses"]] == [True, False, True, True]
    assert [each["code"] for each in document["diagnostics"]] == ["VAFW-P020"]


def test_a_policy_that_is_wrong_is_refused_before_anything_is_proven(vafw: Vafw, lab: Path) -> None:
    alter(lab.parent / "policy.yaml", "to: dns, service: dns", "to: dnss, service: dns")
    done = vafw("policy", "test", lab)
    assert (done.code, done.out) == (ExitCode.INVALID_DOCUMENT, "")
    assert re.findall(r"error\[(VAFW-\w+)\]", done.err) == ["VAFW-P001"]


@pytest.mark.parametrize(
    ("name", "packet"),
    [
        ("web", "tcp 10.0.0.2:40000 -> 1.2.3.4:443 new"),
        ("inbound", "tcp 1.2.3.4:40000 -> 10.0.0.2:22"),
        ("reply", "udp [2001:db8:ffff::1]:53 -> [2001:db8:a::2]:5353 established"),
        ("ping-lan", "icmp 10.0.0.2 -> 192.168.1.1"),
        ("forged", "tcp 10.0.0.9:1024 -> 1.2.3.4:443 inside"),
    ],
)
def test_a_packet_is_explained(vafw: Vafw, lab: Path, name: str, packet: str) -> None:
    done = vafw("policy", "explain", packet, lab)
    assert (done.code, done.err) == (ExitCode.DONE, "")
    pinned(f"policy-explain-{name}.txt", done.out, lab)


@pytest.mark.parametrize(
    ("policy", "name", "packet"),
    [
        ("research-lab", "second-line", "tcp 192.168.88.2:40000 -> 198.51.100.10:873"),
        ("research-lab", "on-a-line", "tcp 192.168.88.2:40000 -> 10.1.0.7:443"),
        ("home", "game", "tcp 192.168.77.2:40000 -> 198.51.100.10:27015"),
        ("home", "forwarded", "tcp 8.8.8.8:40000 -> 10.0.0.2:2222"),
    ],
)
def test_a_packet_through_a_router_is_explained(vafw: Vafw, policy: str, name: str, packet: str) -> None:
    topology = ROOT / "policies" / policy / "topology.yaml"
    done = vafw("policy", "explain", packet, topology)
    assert (done.code, done.err) == (ExitCode.DONE, "")
    pinned(f"policy-explain-{name}.txt", done.out, topology.parent)


def test_a_capture_of_a_user_behind_a_router_is_replayed_as_the_user_saw_it(vafw: Vafw, tmp_path: Path) -> None:
    capture, home = ROOT / "policies" / "office-laptop" / "captures" / "office.pcap", ROOT / "policies" / "home"
    found = data(vafw("policy", "replay", capture, home, "--json").out)
    assert found["packets"] == 618
    assert "(default)" in {each["rule"] for each in found["rules"]}, "10.0.0.2 is not the user's address at home"


def test_an_explanation_is_json_too(vafw: Vafw, lab: Path) -> None:
    found = data(vafw("policy", "explain", "tcp 10.0.0.2:40000 -> 1.2.3.4:443", lab, "--json").out)
    assert (found["passes"], [each["hop"] for each in found["steps"]]) == (True, ["dns", "firewall"])
    assert found["steps"][1]["rule"] == "web"


def test_a_packet_that_cannot_be_read_is_a_usage_error(vafw: Vafw, lab: Path) -> None:
    done = vafw("policy", "explain", "tcp 10.0.0.2", lab)
    assert done.code == ExitCode.USAGE
    assert "a packet must be written as PROTOCOL SOURCE[:PORT] -> DESTINATION[:PORT] [STATE]" in done.err


def test_a_machine_is_no_policy(vafw: Vafw, lab: Path) -> None:
    done = vafw("policy", "test", lab.parent / "machine.yaml")
    assert done.code == ExitCode.USAGE
    assert "must be a topology, or a policy with a topology.yaml beside it" in done.err


def changed(lab: Path, *edits: tuple[str, str]) -> Path:
    """Another policy beside the topology."""
    other = lab.parent / "changed.yaml"
    text = (lab.parent / "policy.yaml").read_text()
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    other.write_text(text)
    return other


def test_a_policy_does_not_differ_from_itself(vafw: Vafw, lab: Path) -> None:
    done = vafw("policy", "diff", lab, changed(lab), "--exit-code")
    assert (done.code, done.out) == (ExitCode.DONE, "every packet meets the same fate\n")


def test_a_service_that_is_added_is_one_region(vafw: Vafw, lab: Path) -> None:
    other = changed(lab, ("[http, https, quic]", "[http, https, quic, ssh]"))
    done = vafw("policy", "diff", lab, other, "--exit-code")
    assert done.code == ExitCode.PLAN_HAS_CHANGES
    pinned("policy-diff-service.txt", done.out, lab)


def test_a_rule_that_is_taken_out_breaks_a_proof(vafw: Vafw, lab: Path) -> None:
    no_lan = "    - {name: no-lan, from: user-os, to: private, action: reject, log: true}\n"
    done = vafw("policy", "diff", lab, changed(lab, (no_lan, "")))
    assert done.code == ExitCode.REFUSED
    pinned("policy-diff-broken.txt", done.out, lab)


def test_a_proof_that_the_new_policy_no_longer_has_is_asked_all_the_same(vafw: Vafw, lab: Path) -> None:
    clause = "    - never: {from: user-os, to: special, state: new}\n"
    no_special = "    - {name: no-special, from: user-os, to: special, action: drop}\n"
    done = vafw("policy", "diff", lab, changed(lab, (clause, ""), (no_special, "")))
    assert done.code == ExitCode.REFUSED
    pinned("policy-diff-clause-dropped.txt", done.out, lab)


def test_reordered_rules_that_do_the_same_are_no_difference(vafw: Vafw, lab: Path) -> None:
    web = "    - {name: web, from: user-os, to: any, service: [http, https, quic], action: accept}\n"
    ping = "    - {name: ping, from: user-os, to: any, service: ping, action: accept}\n"
    done = vafw("policy", "diff", lab, changed(lab, (web + ping, ping + web)))
    assert done.out == "every packet meets the same fate\n"


def test_a_limit_that_is_added_is_seen(vafw: Vafw, lab: Path) -> None:
    ping = "to: any, service: ping, action: accept}"
    other = changed(lab, (ping, "to: any, service: ping, action: accept, limit: 5/second}"))
    pinned("policy-diff-limit.txt", vafw("policy", "diff", lab, other).out, lab)


def test_a_difference_is_json_too(vafw: Vafw, lab: Path) -> None:
    other = changed(lab, ("[http, https, quic]", "[http, https]"))
    found = data(vafw("policy", "diff", lab, other, "--json").out)
    (only,) = found["changed"]
    assert (only["turn"], only["services"], only["before"]["rule"]) == ("stops now", {"17": [[443, 443]]}, "web")


def test_a_capture_is_replayed(vafw: Vafw, lab: Path, tmp_path: Path) -> None:
    capture, written = lab.parent / "captures" / "office.pcap", tmp_path / "fates.pcapng"
    done = vafw("policy", "replay", capture, lab, "--write", written)
    assert done.code == ExitCode.DONE
    pinned("policy-replay.txt", done.out, lab)
    frames = list(read_capture(written))
    assert len(frames) == len(list(read_capture(capture)))
    assert {each.interface for each in frames} == {"inside", "outside"}
    assert sum(each.comment.startswith("accept by ") for each in frames) == 283


def test_a_replay_is_json_too(vafw: Vafw, lab: Path) -> None:
    found = data(vafw("policy", "replay", lab.parent / "captures" / "office.pcap", lab, "--json").out)
    assert (found["passed"], found["packets"]) == (283, sum(each["packets"] for each in found["rules"]))


def test_what_the_firewall_would_get_is_the_text_for_nft(vafw: Vafw, lab: Path) -> None:
    done = vafw("policy", "compile", lab, "--inside", "in0", "--outside", "out0")
    ruleset = compile_rules(load_topology(lab))
    assert (done.code, done.out) == (ExitCode.DONE, nftables_text(ruleset, inside="in0", outside="out0"))
    assert vafw("policy", "compile", lab, "--inside", "in0", "--outside", "out0").out == done.out


def test_a_target_that_nobody_has_a_section_for_is_refused(vafw: Vafw, lab: Path) -> None:
    done = vafw("policy", "compile", lab, "--target", "squid")
    assert done.code == ExitCode.NO_SUCH_OBJECT
    assert "an appliance of 'office-laptop' must be there that has a section `proxy:`, and there is none" in done.err

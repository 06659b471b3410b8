"""`vafw policy`: questions that documents answer, word for word as golden files have it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.cli.test_documents import alter, data
from tests.conftest import Vafw
from vafw.errors import ExitCode

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

"""The gate holds: whatever is altered, the exit code is 20, the component is named, and not one VM has started.

What happened is read from the event trace, never from a message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Vafw
from vafw.errors import ExitCode
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind

CASES = [
    ("vmm", "vmm"),
    ("vmm:12345", "vmm"),
    ("sinit", "sinit"),
    ("sinit:1", "sinit"),
    ("lcp", "lcp"),
    ("log", "log"),
    ("log:4096", "log"),
    ("appliance=firewall", "image firewall"),
    ("appliance=dns:7", "image dns-filter"),
    ("topology", "topology"),
    ("topology:99", "topology"),
    ("launch", "launch"),
]


def events(tmp_path: Path) -> list[dict[str, Any]]:
    found: list[Any] = RunDirectory("office-laptop", tmp_path / "run").events()
    return found


@pytest.mark.parametrize(("tamper", "component"), CASES)
def test_an_altered_component_closes_the_gate_and_is_named_refused(
    vafw: Vafw, office: Path, tmp_path: Path, tamper: str, component: str
) -> None:
    done = vafw("up", office, "--until-idle", "--tamper", tamper, "--json")
    document = json.loads(done.out)
    kinds = [event["kind"] for event in events(tmp_path)]
    assert done.code == ExitCode.GATE_FAILED == document["exit"]["code"]
    assert document["data"]["gate"]["component"] == component
    assert document["data"]["gate"]["open"] is False
    assert EventKind.VM_STARTED not in kinds
    assert EventKind.GATE_OPENED not in kinds
    assert kinds.count(EventKind.GATE_CLOSED) == 1


def test_without_tampering_the_gate_opens_and_every_vm_starts(vafw: Vafw, office: Path, tmp_path: Path) -> None:
    done = vafw("up", office, "--until-idle", "--json")
    started = [event["subject"] for event in events(tmp_path) if event["kind"] == EventKind.VM_STARTED]
    assert (done.code, started) == (ExitCode.DONE, ["firewall", "dns", "user-os"])


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        ("bios", "--tamper must name one of vmm, sinit, lcp, log, topology, launch or appliance=NAME, not 'bios'"),
        ("appliance=ids", "--tamper appliance= must name one of firewall, dns, user-os, not 'ids'"),
        ("vmm:x", "--tamper vmm: the bit must be a number, not 'x'"),
    ],
)
def test_an_unknown_component_is_refused(vafw: Vafw, office: Path, tamper: str, message: str) -> None:
    done = vafw("up", office, "--tamper", tamper)
    assert (done.code, message in done.err) == (ExitCode.USAGE, True)

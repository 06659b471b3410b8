"""A launch accounted for event by event, and predicted before it happens."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Vafw
from vafw.cli.attest_explain import _launched
from vafw.errors import ExitCode


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "office"
    shutil.copytree(ROOT / "policies" / "office-laptop", folder)
    return folder


@pytest.fixture
def measured(laptop: Path, vafw: Vafw) -> Path:
    """Measured as it is now."""
    assert vafw("measure", laptop, "--write").code == 0
    return laptop


def test_every_event_of_a_good_launch_is_accounted_for(vafw: Vafw, measured: Path) -> None:
    done = vafw("attest", "explain", measured, "--json")
    told = json.loads(done.out)["data"]
    assert done.code == ExitCode.DONE
    assert [each["component"] for each in told["events"] if each["component"]] == [
        *("sinit", "vmm", "plan", "topology", "policy"),
        *("image firewall", "image dns-filter", "image desktop"),
    ]
    assert {each["verdict"] for each in told["events"]} == {"accepted", "no reference value"}
    assert all(each["agrees"] for each in told["registers"])


@pytest.mark.parametrize(
    ("tamper", "lines"),
    [
        ("appliance=firewall", ["image firewall is none of those that the reference values accept", "not accepted"]),
        ("log", ["The SHA-256 digest of the event was altered", "gives another value"]),
        ("vmm", ["no measured launch took place: "]),
    ],
)
def test_what_diverged_is_said_with_what_to_do(vafw: Vafw, measured: Path, tamper: str, lines: list[str]) -> None:
    done = vafw("attest", "explain", measured, "--tamper", tamper)
    assert done.code == ExitCode.GATE_FAILED
    for line in lines:
        assert line.lower() in done.out.lower()


def test_the_next_launch_is_predicted_and_held_against_its_log(vafw: Vafw, measured: Path, tmp_path: Path) -> None:
    _, evidence, _ = asyncio.run(_launched(measured / "topology.yaml", None))
    (tmp_path / "log").write_bytes(evidence.event_log)
    done = vafw("measure", measured, "--predict", "--log", tmp_path / "log")
    assert (done.code, done.out) == (
        ExitCode.DONE,
        f"PCR 17  {evidence.pcrs[17].hex()}\nPCR 18  {evidence.pcrs[18].hex()}\n",
    )


def test_a_log_of_another_launch_is_not_what_was_predicted_refused(vafw: Vafw, measured: Path) -> None:
    log = ROOT / "tests" / "attest" / "logs" / "recorded" / "ovmf.bin"
    done = vafw("measure", measured, "--log", log)
    assert done.code == ExitCode.REFUSED
    assert done.out.endswith("PCR 18 of the log is never extended, not as predicted\n")

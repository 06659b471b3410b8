"""What a person sees: widths, signs, colours, and a refusal that fits on half a screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Vafw
from vafw.cli import progress, status
from vafw.cli.output import fitted, paint
from vafw.errors import ExitCode
from vafw.supervisor.steps import Step, StepState

CAPTURE = ROOT / "policies" / "office-laptop" / "captures" / "office.pcap"
DIGEST = "9d52925f6aab827d394389d705f1a2ceedf634a473324536de726c0eca20088d"


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal_and_nothing_ends_in_blanks(
    vafw: Vafw, lab: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    up = vafw("up", lab, "--pcap", CAPTURE, "--until-idle")
    shown = up.out + up.err + vafw("status", "office-laptop").out + vafw("up", lab, "--tamper", "vmm").out
    assert [line for line in shown.splitlines() if len(line) > width] == []
    assert [line for line in up.out.splitlines() if line != line.rstrip()] == []


def test_every_digest_of_the_tables_is_whole(vafw: Vafw, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = vafw("up", lab, "--tamper", "appliance=firewall")
    assert len(re.findall(r"^  (?:expected|found) +[0-9a-f]{64}$", done.out, re.MULTILINE)) == 2


def test_a_refusal_is_a_short_story_and_no_row_of_empty_tables_refused(vafw: Vafw, lab: Path) -> None:
    done = vafw("up", lab, "--tamper", "appliance=firewall")
    told = re.sub(r"[0-9a-f]{64}", "DIGEST", done.out).splitlines()
    assert done.code == ExitCode.GATE_FAILED
    assert told[0] == ""
    assert told[1].startswith("✗ refused  office-laptop  since ")
    assert told[2:] == [
        "Gate closed: image firewall is none of those that the reference values accept",
        "  component   image firewall",
        "  event       #14 PCR 19 EV_IPL",
        "  expected    DIGEST",
        "  found       DIGEST",
        "  what to do  Put the accepted image firewall back, "
        "or accept this one with `vafw measure --write` if it is meant.",
    ]
    assert done.err.endswith("error: image firewall is none of those that the reference values accept\n")


def test_a_fresh_launch_that_is_refused_shows_its_claims_refused(vafw: Vafw, lab: Path) -> None:
    done = vafw("attest", lab, "--tamper", "topology")
    assert done.code == ExitCode.GATE_FAILED
    assert "✓ affirming" in done.out
    assert "Gate closed: the topology was changed after it was measured" in done.out
    assert "what to do  Bring the machine up again" in done.out


def test_the_status_of_a_refused_run_says_why_and_that_nothing_started(vafw: Vafw, lab: Path) -> None:
    vafw("up", lab, "--tamper", "sinit")
    done = vafw("status", "office-laptop")
    assert done.code == ExitCode.NOT_RUNNING
    assert "    component   sinit\n" in done.out
    assert done.out.count("defined") == 3


def test_a_capture_that_is_none_ends_a_run_as_failed_and_stops_everything(
    vafw: Vafw, lab: Path, tmp_path: Path
) -> None:
    (tmp_path / "none.pcap").write_bytes(b"no capture at all")
    done = vafw("up", lab, "--pcap", tmp_path / "none.pcap", "--until-idle")
    assert done.code != ExitCode.DONE
    assert "✗ failed  office-laptop" in done.out
    assert "Traceback" not in done.err


def test_a_tree_line_has_mark_title_time_and_detail(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_step(Step("launch", 0, StepState.DONE, "2 steps", 0.0304, [("measure MLE", f"SHA-256 {DIGEST}")]))
    progress.show_step(Step("attest", 0, StepState.FAILED, "a reason that the error says"))
    progress.show_step(Step("traffic", 0, StepState.STOPPED, "12 frames", 61.5))
    assert capsys.readouterr().err == (
        "✓ launch               0.030 s  2 steps\n"
        "    measure MLE  SHA-256 9d52925f6aab…\n"
        "✗ attest               0.000 s\n"
        "○ traffic             61.500 s  12 frames\n"
    )


def test_neighbours_that_say_the_same_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    notes = [("not extended: plan", "no launch"), ("not extended: policy", "no launch"), ("quote", "taken")]
    progress.show_step(Step("launch", 0, StepState.DONE, notes=notes))
    assert capsys.readouterr().err.splitlines()[1:] == [
        "    not extended: plan and 1 more  no launch",
        "    quote                          taken",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (12.9, "12 s"), (60, "1 min"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (360_000, "4 d 4 h")],
)
def test_durations_are_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert status._duration(seconds) == said


def test_a_status_shows_the_last_words_from_inside() -> None:
    snapshot: dict[str, Any] = {
        "name": "lab", "phase": "up", "since": "2026-01-01T00:00:00+00:00", "ended": None, "reason": "",
        "plan": {"machine": "pc"}, "gate": None, "attestation": None, "isolation": [], "wire": {}, "path": ["nic"],
        "vms": [],
    }  # fmt: skip
    events = [
        {"kind": "guest.log", "subject": "dns", "time_s": number, "detail": {"line": f"line {number}"}}
        for number in range(5)
    ]
    told = list(status.lines(snapshot, events, datetime(2026, 1, 1, 0, 1, 5, tzinfo=UTC)))
    assert told[1] == "      State: up since 2026-01-01 00:00:00 UTC, 1 min 5 s ago"
    assert told[-3:] == ["      2.000  dns: line 2", "      3.000  dns: line 3", "      4.000  dns: line 4"]


def test_a_stream_that_is_no_terminal_gets_no_colour() -> None:
    assert paint("error", "bold red") == "error"


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    assert (fitted("measured", 8), fitted("measured", 7)) == ("measured", "measur…")


def test_a_stream_that_is_not_utf_8_is_served_all_the_same(lab: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "vafw", "graph", str(lab)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, b"firewall" in done.stdout) == (ExitCode.DONE, True)


def test_a_reader_that_goes_away_is_no_fault(lab: Path) -> None:
    program = f'"{sys.executable}" -m vafw schema policy | head -c 1'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{", "")

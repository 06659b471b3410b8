"""Nothing opens a closed gate without a record; and the record tells when it was altered."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import ROOT, Vafw
from vafw.errors import ExitCode

WHY = "the office must have its mail today"


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vafw: Vafw) -> Path:
    """The shipped example, measured as it is now, and a state of its own."""
    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("VAFW_STATE_DIR", str(tmp_path / "state"))
    shutil.copytree(ROOT / "policies" / "office-laptop", tmp_path / "office")
    assert vafw("measure", tmp_path / "office", "--write").code == 0
    return tmp_path / "office"


def up(vafw: Vafw, laptop: Path, *more: str) -> dict[str, object]:
    done = vafw("up", laptop, "--until-idle", "--no-control", "--json", *more)
    gate: dict[str, object] = json.loads(done.out)["data"]["gate"] | {"code": done.code}
    return gate


def kinds(vafw: Vafw) -> list[str]:
    return [each["kind"] for each in json.loads(vafw("ledger", "show", "--json").out)["data"]]


def test_a_gate_opened_by_hand_is_recorded_and_marked_until_a_clean_boot(vafw: Vafw, laptop: Path) -> None:
    assert up(vafw, laptop, "--tamper", "log")["code"] == ExitCode.GATE_FAILED
    broken = up(vafw, laptop, "--tamper", "log", "--break-glass", WHY)
    assert (broken["code"], broken["open"], broken["override"]) == (ExitCode.DONE, True, WHY)
    assert str(broken["reason"]).startswith(f"opened by hand ({WHY}) against: the ")
    assert "   Override: the glass was broken: this machine is not attested" in vafw("status", "office-laptop").out
    clean = up(vafw, laptop, "--break-glass", WHY)
    assert (clean["open"], "override" in clean) == (True, False)
    assert "Override" not in vafw("status", "office-laptop").out
    assert kinds(vafw) == ["result", "gate", "result", "gate", "break-glass", "result", "gate"]


@pytest.mark.parametrize("reason", ["", "now", "   "])
def test_a_reason_that_says_nothing_is_refused(vafw: Vafw, laptop: Path, reason: str) -> None:
    done = vafw("up", laptop, "--break-glass", reason)
    assert done.code == ExitCode.USAGE
    assert "error: --break-glass must say why in some words: the ledger keeps them\n" in done.err


def test_the_ledger_is_verified_here_and_as_a_bundle_elsewhere(vafw: Vafw, laptop: Path, tmp_path: Path) -> None:
    up(vafw, laptop)
    whole = json.loads(vafw("ledger", "verify", "--json").out)["data"]
    assert whole["records"] == 2
    bundle = tmp_path / "bundle.jsonl"
    assert vafw("ledger", "export", bundle).out == f"{bundle}: 2 records\n"
    assert vafw("ledger", "verify", bundle, "--head", whole["head"]).code == ExitCode.DONE
    cut = tmp_path / "cut.jsonl"
    cut.write_text(bundle.read_text().splitlines(keepends=True)[0])
    assert vafw("ledger", "verify", cut, "--head", whole["head"]).code == ExitCode.REFUSED
    bundle.write_text(bundle.read_text().replace('"affirming"', '"Affirming"', 1))
    done = vafw("ledger", "verify", bundle)
    assert (done.code, done.err) == (
        ExitCode.FAILED, "error: record 1 of the ledger was altered: result of office-laptop\n"
    )  # fmt: skip


def test_a_ledger_whose_file_was_edited_is_refused(vafw: Vafw, laptop: Path) -> None:
    up(vafw, laptop, "--tamper", "sinit")
    path = Path(os.environ["VAFW_STATE_DIR"]) / "ledger.sqlite"
    with sqlite3.connect(path) as file:
        file.executescript("DROP TRIGGER record_stays; UPDATE record SET body = '{\"open\": true}' WHERE kind = 'gate'")
    file.close()
    done = vafw("ledger", "verify")
    assert done.code == ExitCode.FAILED
    assert done.err == "error: record 2 of the ledger was altered: gate of office-laptop\n"


def test_no_ledger_at_all_is_said(vafw: Vafw, laptop: Path) -> None:
    assert vafw("ledger", "show").code == ExitCode.NO_SUCH_OBJECT

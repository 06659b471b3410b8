"""`vafw attack`: the range from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Vafw
from vafw.attack import SCENARIOS, Mechanism
from vafw.errors import ExitCode


def test_list_names_every_attack_and_every_mechanism(vafw: Vafw) -> None:
    text, found = vafw("attack", "list").out, json.loads(vafw("attack", "list", "--json").out)["data"]
    assert [each["name"] for each in found["attacks"]] == [each.name for each in SCENARIOS]
    assert list(found["mechanisms"]) == [each.value for each in Mechanism]
    assert all(each.name in text and each.threat in text for each in SCENARIOS)


def test_run_says_which_mechanism_stopped_an_attack_and_shows_its_record(vafw: Vafw, lab: Path) -> None:
    done = vafw("attack", "run", "stale-iotlb", "guest-reads-vmm", lab)
    lines = done.out.splitlines()
    assert (done.code, len(lines), lines[-1]) == (ExitCode.DONE, 5, "2 of 2 attacks stopped")
    assert "invalidation" in lines[1]
    assert "write not allowed" in lines[1]
    assert "VM exit 48" in lines[2]


def test_steps_tell_what_an_attack_does(vafw: Vafw, lab: Path) -> None:
    out = vafw("attack", "run", "peer-to-peer", lab, "--steps").out
    assert "the ring register of the card beside it below the same switch" in out


def test_without_the_mechanism_the_attack_succeeds_as_it_should(vafw: Vafw, lab: Path) -> None:
    done = vafw("attack", "run", "stale-iotlb", "guest-reads-vmm", lab, "--without", "invalidation", "--json")
    stale, guest = json.loads(done.out)["data"]["attacks"]
    assert done.code == ExitCode.DONE
    assert (stale["outcome"], stale["as-declared"]) == ("succeeded", True)
    assert (guest["outcome"], guest["stopped-by"]) == ("stopped", "ept")


def test_the_last_line_counts_without_what(vafw: Vafw, lab: Path) -> None:
    out = vafw("attack", "run", "stale-iotlb", lab, "--without", "vt-d", "--without", "acs").out
    assert out.splitlines()[-1] == "0 of 1 attacks stopped without vt-d, acs"


def test_an_attack_that_is_not_there_is_refused(vafw: Vafw, lab: Path) -> None:
    done = vafw("attack", "run", "stale-iotbl", lab)
    assert done.code == ExitCode.NO_SUCH_OBJECT
    assert done.err == (
        "error: an attack must be one of those that `vafw attack list` prints, not 'stale-iotbl'\n"
        "hint: did you mean stale-iotlb?\n"
    )


def test_a_mechanism_that_is_not_there_is_refused(vafw: Vafw, lab: Path) -> None:
    done = vafw("attack", "run", lab, "--without", "luck")
    assert done.code == ExitCode.USAGE
    assert done.err == f"error: --without must name one of {', '.join(Mechanism)}, not 'luck'\n"


def test_a_machine_whose_reference_values_are_of_another_vmm_is_not_attacked_refused(vafw: Vafw, lab: Path) -> None:
    values = lab.parent / "reference-values.yaml"
    text = values.read_text()
    at = text.index("vmm: ") + text[text.index("vmm: ") :].index('"') + 1
    values.write_text(text[:at] + "0" * 64 + text[at + 64 :])
    done = vafw("attack", "run", "stale-iotlb", lab)
    assert done.code == ExitCode.GATE_FAILED
    assert done.err.startswith(
        "error: no measured launch took place: the VMM in memory is none that the launch control"
    )


def test_the_matrix_holds_what_it_prints(vafw: Vafw, lab: Path) -> None:
    names = ["old-sinit", "subvirt"]
    done = vafw("attack", "matrix", *names, lab, "--json")
    found = json.loads(done.out)["data"]
    assert (done.code, found["surprises"]) == (ExitCode.DONE, [])
    assert [each["name"] for each in found["attacks"]] == names
    assert [each["all-on"]["stopped-by"] for each in found["attacks"]] == ["lcp", "gate"]
    assert found["attacks"][0]["without"]["lcp"]["stopped-by"] == "gate"
    assert found["attacks"][1]["without"]["gate"]["outcome"] == "succeeded"
    assert all(each["all-of-its-own-off"]["outcome"] == "succeeded" for each in found["attacks"])


def test_the_matrix_says_what_an_attack_succeeds_without_and_what_the_next_layer_is(vafw: Vafw, lab: Path) -> None:
    _, first, second = vafw("attack", "matrix", "old-sinit", "subvirt", lab).out.splitlines()
    assert " ".join(first.split()) == "old-sinit lcp txt + lcp + gate txt (gate), lcp (gate), gate (lcp)"
    assert second.split() == ["subvirt", "gate", "gate"]


def test_the_commands_of_the_documentation_do_what_it_says(
    vafw: Vafw, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "attack.md").read_text(encoding="utf-8")
    commands = [line.split()[1:] for line in page.splitlines() if re.match("vafw attack ", line)]
    monkeypatch.chdir(lab.parent.parent)
    (lab.parent.parent / "policies").symlink_to(lab.parent.parent)
    done = [vafw(*command) for command in commands]
    assert [each.code for each in done] == [ExitCode.DONE] * 5, [each.err for each in done]
    assert done[3].out.splitlines()[-1] == "0 of 1 attacks stopped without invalidation"

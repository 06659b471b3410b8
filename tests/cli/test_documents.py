"""The verbs that only read documents: check, plan, graph, measure, schema, explain."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Vafw
from vafw.document.load import KINDS
from vafw.errors import ExitCode


def data(out: str) -> Any:
    return json.loads(out)["data"]


def alter(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_check_sums_a_correct_set_up_in_one_line(vafw: Vafw, lab: Path) -> None:
    done = vafw("check", lab)
    assert (done.code, done.out) == (ExitCode.DONE, "")
    assert done.err == f"{lab}: correct; 2 appliances, 6 rules, 4 proofs hold\n"


def test_a_folder_stands_for_the_topology_in_it(vafw: Vafw, lab: Path) -> None:
    assert vafw("check", lab.parent).code == ExitCode.DONE


def test_check_prints_every_error_sorted_and_counts_them_refused(vafw: Vafw, lab: Path) -> None:
    alter(lab, "assign: [display]", "assign: [display, nic]")
    alter(lab, "memory: 256 MiB", "memory: 256 GiB")
    done = vafw("check", lab)
    places = [(name, int(line)) for name, line in re.findall(r"--> (\S+):(\d+):\d+", done.err)]
    assert done.code == ExitCode.INVALID_DOCUMENT
    assert places == sorted(places)
    assert done.err.endswith(f"\n{len(places)} errors\n")


def test_check_gives_the_same_errors_as_json(vafw: Vafw, lab: Path) -> None:
    alter(lab, "assign: [display]", "assign: [display, nic]")
    text, document = vafw("check", lab).err, json.loads(vafw("check", lab, "--json").out)
    assert document["exit"] == {"code": 65, "class": "invalid-document"}
    assert [each["code"] for each in document["diagnostics"]] == re.findall(r"error\[(VAFW-\w+)\]", text)
    assert {"file", "line", "col", "endLine", "endCol", "hint"} <= document["diagnostics"][0].keys()


def test_check_takes_a_single_document_of_another_kind(vafw: Vafw, lab: Path) -> None:
    policy = lab.parent / "policy.yaml"
    assert vafw("check", policy).err == f"{policy}: a correct policy\n"


def test_plan_ends_with_one_line_that_counts(vafw: Vafw, lab: Path) -> None:
    done = vafw("plan", lab)
    assert done.code == ExitCode.DONE
    assert done.out.splitlines()[-1] == (
        "Plan: 5 to create, 0 live, 0 restart (user OS keeps running: yes), 0 recreate, 0 to destroy. "
        "Gate: re-attest needed (PCR 19 expected to change)."
    )


def test_plan_is_the_same_twice(vafw: Vafw, lab: Path) -> None:
    assert vafw("plan", lab).out == vafw("plan", lab).out


def test_plan_tells_scripts_of_changes_by_its_exit_code(vafw: Vafw, lab: Path) -> None:
    done = vafw("plan", lab, "--exit-code", "--json")
    assert done.code == ExitCode.PLAN_HAS_CHANGES
    assert [each["change"] for each in data(done.out)["changes"]] == ["create"] * 5


@pytest.mark.parametrize(
    ("form", "beginning"), [("ascii", "wire\n"), ("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg")]
)
def test_graph_draws_in_each_format(vafw: Vafw, lab: Path, form: str, beginning: str) -> None:
    drawn = vafw("graph", lab, "--format", form)
    assert (drawn.code, drawn.out.startswith(beginning)) == (ExitCode.DONE, True)
    assert data(vafw("graph", lab, "--format", form, "--json").out) == {"format": form, "graph": drawn.out}


def test_measure_prints_the_document_that_write_writes(vafw: Vafw, lab: Path) -> None:
    printed = vafw("measure", lab).out
    assert vafw("measure", lab, "--write").err == f"{lab.parent / 'reference-values.yaml'}: written\n"
    assert (lab.parent / "reference-values.yaml").read_text() == printed


def test_measure_as_json_has_a_digest_for_each_component(vafw: Vafw, lab: Path) -> None:
    measured = data(vafw("measure", lab, "--json").out)
    digests = [measured["sinit"], measured["vmm"], *measured["images"].values()]
    assert list(measured["images"]) == ["firewall", "dns-filter", "desktop"]
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in digests)


def test_measure_can_write_the_first_reference_values(vafw: Vafw, lab: Path) -> None:
    (lab.parent / "reference-values.yaml").unlink()
    assert vafw("check", lab).code == ExitCode.INVALID_DOCUMENT
    assert vafw("measure", lab, "--write").code == ExitCode.DONE
    assert vafw("check", lab).code == ExitCode.DONE


def test_measure_where_nothing_can_be_written_is_refused(vafw: Vafw, lab: Path) -> None:
    (lab.parent / "reference-values.yaml").unlink()
    (lab.parent / "reference-values.yaml").mkdir()
    done = vafw("measure", lab, "--write")
    assert (done.code, "Traceback" in done.err) == (ExitCode.INVALID_DOCUMENT, False)


@pytest.mark.parametrize("kind", KINDS)
def test_schema_prints_the_schema_of_each_kind(vafw: Vafw, kind: str) -> None:
    printed = json.loads(vafw("schema", kind).out)
    assert printed["title"] == f"vafw {kind}"
    assert data(vafw("schema", kind, "--json").out) == printed


def test_an_unknown_kind_is_answered_with_the_nearest_refused(vafw: Vafw) -> None:
    done = vafw("schema", "topologi")
    assert done.code == ExitCode.NO_SUCH_OBJECT
    assert done.err == "error: there is no kind of document 'topologi'\nhint: did you mean 'topology'?\n"


def test_explain_takes_a_code_in_any_case(vafw: Vafw) -> None:
    done = vafw("explain", "vafw-t031")
    assert (done.code, done.out.startswith("VAFW-T031: ")) == (ExitCode.DONE, True)
    assert "What to do: " in done.out
    assert data(vafw("explain", "vafw-t031", "--json").out)["code"] == "VAFW-T031"


def test_an_unknown_code_is_answered_with_the_nearest_refused(vafw: Vafw) -> None:
    done = vafw("explain", "VAFW-T31")
    assert done.code == ExitCode.NO_SUCH_OBJECT
    assert done.err == "error: there is no error code 'VAFW-T31'\nhint: did you mean VAFW-T031?\n"

"""`vafw model exits`: the table, JSON, the picture, and a workload that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ROOT, Vafw
from vafw.errors import ExitCode

PACKETS = ROOT / "policies" / "workloads" / "packets.yaml"


def small(folder: Path, steps: str) -> Path:
    file = folder / "small.yaml"
    file.write_text(f"vafw: 1\nkind: workload\nname: small\npages: 4\nsteps:\n{steps}\n")
    return file


def test_exits_and_misses_are_printed_for_each_technique(vafw: Vafw, tmp_path: Path) -> None:
    done = vafw("model", "exits", "--workload", small(tmp_path, "  - {cpuid: 3}\n  - {read: 4}"))
    assert done.code == ExitCode.DONE
    rows = {line.split("  ")[0].strip(): line.split() for line in done.out.splitlines()}
    assert rows["EPT and VPID"][3:] == ["4", "0", "4", "22", "5.5", "19.0"]
    assert rows["CPUID"] == ["CPUID", "3", "3", "3"]
    assert rows["VMCALL CPUID"] == ["VMCALL", "CPUID", "3"]


def test_json_carries_every_figure_and_the_picture_is_written(vafw: Vafw, tmp_path: Path) -> None:
    picture = tmp_path / "exits.svg"
    done = vafw("model", "exits", "--workload", small(tmp_path, "  - {port: 2}"), "--json", "--plot", picture)
    told = json.loads(done.out)["data"]
    assert [each["technique"] for each in told["outcomes"]][-1] == "EPT and VPID"
    assert told["outcomes"][-1]["exits"] == {"IO_INSTRUCTION": 2, "VMCALL": 1}
    assert told["outcomes"][0]["callouts"] == {"Sti": 1, "Out": 2}
    assert picture.read_text().startswith("<svg ")


def test_a_step_with_two_keys_is_refused(vafw: Vafw, tmp_path: Path) -> None:
    file = small(tmp_path, "  - {port: 2, cpuid: 1}")
    done = vafw("model", "exits", "--workload", file)
    assert done.code == ExitCode.INVALID_DOCUMENT
    assert "must have exactly one of the keys" in done.err
    assert f"{file}:6:5" in done.err


def test_a_document_of_another_kind_is_refused(vafw: Vafw) -> None:
    done = vafw("model", "exits", "--workload", ROOT / "policies" / "office-laptop" / "policy.yaml")
    assert done.code == ExitCode.INVALID_DOCUMENT
    assert "kind must be workload here, not the text 'policy'" in done.err

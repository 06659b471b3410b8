"""Every benchmark runs; what it measures is nobody's test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def test_the_benchmark_of_up_prints_every_figure_with_its_limit() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "up.py"), "--frames", "100", "--rounds", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["job", "ready", "chain", "walk", "IOTLB hit"]


def test_the_benchmark_of_the_model_prints_every_figure_with_its_ratio() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "model.py"), "--rounds", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.split("  ")[0] for line in lines]
    assert names[:6] == ["job", "unrolled", "EPT walk", "EPT miss", "EPT hit", "EPT batch"]
    assert names[6:] == ["unrolled", "DMA walk", "DMA miss", "IOTLB hit", "DMA batch", "C batch"]


def test_the_benchmark_of_policies_prints_every_row_even_where_peers_are_missing() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "policy.py"), "--rules", "60", "--rounds", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    asked = ["question", "sliced", "warm"]
    assert [line.split()[0] for line in lines] == ["job", "build", *asked, "compile", "process", "load", "edit"]


@pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("swtpm", "tpm2_quote")), reason="swtpm or tpm2-tools is not installed"
)
def test_the_benchmark_of_attestation_prints_every_figure_beside_the_bare_signature() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "attest.py"), "--rounds", "1", "--quotes", "20"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith(("RSA", "P-256"))]
    assert [row for row in rows if row[1] in ("raw", "vafw")] == [
        ["RSA-2048", "raw"], ["RSA-2048", "vafw"], ["P-256", "raw"], ["P-256", "vafw"]
    ]  # fmt: skip

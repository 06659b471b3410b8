"""A verb loads what it needs and nothing else; held by names of modules, since times differ from machine to machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

OFFICE = str(ROOT / "policies" / "office-laptop" / "topology.yaml")
MODEL = ("vafw.hw", "vafw.vmm", "vafw.provider", "cryptography", "PIL")
ENGINE = ("vafw.traffic.conntrack", "vafw.traffic.engine", "vafw.traffic.frame", "vafw.traffic.tcp_state", "dnslib")
TERMINAL = ("rich", "pygments")
DOCUMENTS = ("pydantic", "yaml", "vafw.document", "vafw.plan")
FACES = ("textual", "vafw_tui", "vafw.control", "aiomqtt", "paho", "amqtt", "vafw.provider.qemu", "qemu", "tpm2_pytss")
"""No verb below loads any of these, and `check` least of all."""
LOOP = ("asyncio", "vafw.supervisor.supervisor")


def loaded_by(tmp_path: Path, *arguments: str) -> set[str]:
    """Every module that one command line loads."""
    program = "import sys\nfrom vafw.cli.main import run\nrun(sys.argv[1:])\nprint('MODULES', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "VAFW_RUN_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.rpartition("MODULES ")[2].split())


def below(modules: set[str], names: tuple[str, ...]) -> list[str]:
    """Those of the modules that are one of `names` or lie below it."""
    return sorted(
        module for module in modules if any(module == name or module.startswith(f"{name}.") for name in names)
    )


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["--version"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP, "json", "difflib", "vafw.supervisor")),
        (["--help"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP, "vafw.supervisor")),
        (["check", OFFICE], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "numpy", "vafw.plan.graph", "vafw.attest.verifier")),
        (["plan", OFFICE], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "vafw.plan.graph", "vafw.attest.verifier")),
        (["graph", OFFICE], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "vafw.attest.verifier")),
        (["schema", "policy"], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "vafw.plan")),
        (["explain", "VAFW-T031"], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "pydantic", "yaml", "vafw.document.load")),
        (["status", "nobody"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP)),
        (["down", "nobody"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP)),
        (["logs", "nobody"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP)),
        (["config", "get", "nobody"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP)),
        (["config", "set", "nobody", "firewall", "a=b"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP)),
        (["capture", "nobody", "--display", "x.png"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP)),
        (["attest", "nobody"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS)),
        (["policy", "test", OFFICE], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "numpy", "vafw.plan.graph")),
        (["policy", "explain", "tcp 10.0.0.2:1 -> 1.2.3.4:443", OFFICE], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "numpy")),
        (["policy", "diff", OFFICE, OFFICE], (*MODEL, *ENGINE, *TERMINAL, *LOOP, "numpy")),
        (["model", "--help"], (*MODEL, *ENGINE, *TERMINAL, *DOCUMENTS, *LOOP, "numpy")),
        (["model", "tables", "--help"], (*ENGINE, *TERMINAL, *DOCUMENTS, *LOOP, "numpy", "vafw.vmm", "vafw.acpi")),
        (["measure", OFFICE], (*TERMINAL, *LOOP)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_verb_loads_nothing_needless(tmp_path: Path, arguments: list[str], needless: tuple[str, ...]) -> None:
    assert below(loaded_by(tmp_path, *arguments), (*needless, *FACES)) == []

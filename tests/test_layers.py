"""The core stays light: no verb loads what it does not need, and the core knows no terminal, MQTT or QEMU code."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOREIGN = ("textual", "rich", "click", "aiomqtt", "paho", "qemu", "scapy", "PIL", "dnslib")


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["vafw.document.load", "vafw.plan.plan", "vafw.supervisor.supervisor", "vafw.attest.verifier", "vafw.vmm.vmm"],
)
def test_the_core_imports_no_terminal_no_mqtt_and_no_qemu_code(module: str) -> None:
    assert not modules_after(f"import {module}").intersection(FOREIGN)


@pytest.mark.parametrize(
    "module", ["vafw.document.load", "vafw.plan.plan", "vafw.supervisor.supervisor", "vafw.attest.verifier"]
)
def test_nothing_a_real_machine_needs_imports_the_modelled_pc(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert not {name for name in loaded if name.startswith(("vafw.hw", "vafw.vmm"))}


def test_the_version_is_printed_without_pydantic_rich_or_the_model() -> None:
    loaded = modules_after("sys.argv = ['vafw', '--version']; import vafw.cli.main")
    assert not {
        name for name in loaded if name.startswith(("pydantic", "rich", "vafw.hw", "vafw.provider", "cryptography"))
    }

"""The proxy in a real VM, between a Linux that asks it and a kernel that lets nobody else out.

The kiosk, with its limits and its names, but for an address that never answers: a proxy's list of sites holds none.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Vafw
from tests.contract.benches import require_qemu
from vafw.errors import ExitCode

KIOSK = ROOT / "policies" / "kiosk"
SILENT = """\
  - connect: 10.0.0.3
    port: 3128
    send: "GET http://192.0.2.7/ HTTP/1.1\\r\\nHost: 192.0.2.7\\r\\n\\r\\n"
  - {connect: 10.0.0.77, port: 80}
"""


def changed(path: Path, pattern: str, text: str) -> None:
    """Replace what matches, which must be there once."""
    new, count = re.subn(pattern, lambda _: text, path.read_text())
    assert count == 1
    path.write_text(new)


def kiosk(folder: Path) -> Path:
    """The kiosk's topology with an address more that it may reach, and every site allowed but one."""
    shutil.copytree(KIOSK, folder, ignore=shutil.ignore_patterns("*-qemu.yaml"))
    changed(folder / "policy.yaml", r"library: \[", "library: [192.0.2.7/32, ")
    changed(folder / "topology.yaml", r"proxy: \{allow: .*\}", "proxy: {block: [news.example.org]}")
    with (folder / "script.yaml").open("a") as script:
        script.write(SILENT)
    return folder / "topology.yaml"


def test_a_real_guest_asks_the_web_for_its_user_and_gives_up_by_its_own_clock(vafw: Vafw, tmp_path: Path) -> None:
    require_qemu()
    topology = kiosk(tmp_path / "kiosk")
    assert vafw("measure", topology, "--platform", "qemu", "--write").code == ExitCode.DONE
    script = topology.with_name("script.yaml")
    done = vafw("up", topology, "--platform", "qemu", "--script", script, "--until-idle", "--json")
    reports: dict[str, Any] = {vm["name"]: vm["appliance"] for vm in json.loads(done.out)["data"]["vms"]}
    outcomes = [step["outcome"] for step in reports["user-os"]["steps"]]
    assert outcomes[:4] == ["refused", "ok", "ok", "ok"]
    assert [(each["site"], each["verdict"], each["rule"]) for each in reports["proxy"]["latest"]] == [
        ("www.example.com:80", "allowed", "allow all"),
        ("www.example.com:443", "allowed", "allow all"),
        ("news.example.org:80", "blocked", "block news.example.org"),
        ("192.0.2.7:80", "refused", "the site does not answer (timed out)"),
    ]
    assert reports["firewall"]["rules"]["library"]["packets"] >= 2

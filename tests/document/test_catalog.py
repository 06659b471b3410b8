from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vafw.document.catalog import appliances, policies


def appliance(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "appliance.yaml").touch()
    return folder


def test_the_shipped_appliances_are_found_by_name() -> None:
    assert {"firewall", "dns-filter", "desktop"} <= set(appliances(environment={}))


def test_a_folder_of_the_environment_comes_before_the_shipped_ones(tmp_path: Path) -> None:
    own = appliance(tmp_path / "one" / "firewall")
    other = appliance(tmp_path / "two" / "my_ids")
    found = appliances(environment={"VAFW_APPLIANCES": f"{tmp_path}/one::{tmp_path}/two:{tmp_path}/none"})
    assert (found["firewall"], found["my-ids"]) == (own, other)


def test_a_folder_beside_the_topology_comes_first(tmp_path: Path) -> None:
    own = appliance(tmp_path / "appliances" / "firewall")
    appliance(tmp_path / "else" / "firewall")
    assert appliances(tmp_path, {"VAFW_APPLIANCES": f"{tmp_path}/else"})["firewall"] == own


def test_a_folder_without_a_manifest_is_no_appliance(tmp_path: Path) -> None:
    (tmp_path / "appliances" / "empty").mkdir(parents=True)
    assert "empty" not in appliances(tmp_path, {})


def test_the_shipped_policies_are_found() -> None:
    folder = policies()
    assert folder is not None
    assert (folder / "office-laptop" / "topology.yaml").is_file()


def test_finding_and_loading_documents_imports_no_appliance_terminal_or_schema_code() -> None:
    program = (
        "import sys; from pathlib import Path; from vafw.document.load import load_topology;"
        "load_topology(Path(sys.argv[1]), measuring=True);"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('vafw_appliances', 'rich', 'click', 'jsonschema', 'cryptography', 'asyncio')])"
    )
    topology = Path(__file__).parent.parent.parent / "policies" / "office-laptop" / "topology.yaml"
    done = subprocess.run([sys.executable, "-c", program, topology], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

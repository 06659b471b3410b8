"""One flipped bit in a file that was measured before: exit 20, the component is named, and nothing was started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Finished, Vafw
from vafw.errors import ExitCode
from vafw.provider.qemu.base import images_folder
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind


def flip_in_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def refused_component(done: Finished, runs: Path) -> str:
    """The component that kept the gate closed; nothing may have been started."""
    assert done.code == ExitCode.GATE_FAILED
    kinds = {event["kind"] for event in RunDirectory("office-laptop", runs).events()}
    assert kinds & {EventKind.GATE_OPENED, EventKind.VM_STARTED, EventKind.LINK_UP} == set()
    return str(json.loads(done.out)["data"]["gate"]["component"])


@pytest.mark.parametrize("file", ["vmlinuz", "base.cpio.gz"])
def test_a_bit_of_the_guests_kernel_or_initramfs_is_refused(
    vafw: Vafw, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    images = tmp_path / "images"
    shutil.copytree(images_folder(), images, copy_function=lambda source, target: Path(target).symlink_to(source))
    (images / file).unlink()
    shutil.copyfile(images_folder() / file, images / file)
    monkeypatch.setenv("VAFW_IMAGES", str(images))
    flip_in_the_middle(images / file)
    done = vafw("up", measured, "--platform", "qemu", "--until-idle", "--json")
    assert refused_component(done, tmp_path / "run") == "image firewall"


def test_a_bit_of_qemu_itself_is_refused(
    vafw: Vafw, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    qemu, swtpm = (str(shutil.which(each)) for each in ("qemu-system-x86_64", "swtpm"))
    (tools / "swtpm").symlink_to(swtpm)
    shutil.copy(qemu, tools / "qemu-system-x86_64")
    monkeypatch.setenv("PATH", str(tools))
    assert vafw("measure", measured, "--platform", "qemu", "--write").code == ExitCode.DONE
    flip_in_the_middle(tools / "qemu-system-x86_64")
    done = vafw("up", measured, "--platform", "qemu", "--until-idle", "--json")
    assert refused_component(done, tmp_path / "run") == "vmm"


@pytest.mark.parametrize(("component", "named"), [("kernel", "image firewall"), ("topology:77", "topology")])
def test_a_bit_that_is_flipped_on_purpose_is_refused(
    vafw: Vafw, measured: Path, tmp_path: Path, component: str, named: str
) -> None:
    done = vafw("up", measured, "--platform", "qemu", "--until-idle", "--tamper", component, "--json")
    assert refused_component(done, tmp_path / "run") == named

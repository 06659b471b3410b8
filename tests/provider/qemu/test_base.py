"""Images are reproducible: they are measured, so the same packages and sources must give the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.contract.benches import require_guests, require_qemu
from tests.provider.qemu.office import office_plan
from vafw.errors import PlatformUnable
from vafw.provider.qemu.base import build_base, images_folder, load_base
from vafw.provider.qemu.image import build_image


def test_two_builds_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_qemu()
    built = []
    for name in ("one", "two"):
        monkeypatch.setenv("VAFW_IMAGES", str(tmp_path / name))
        folder = build_base()
        images = [build_image(vm, load_base()) for vm in office_plan().vms]
        built.append(((folder / "base.json").read_text(), [image.digest for image in images]))
    assert built[0] == built[1]
    assert len(set(built[0][1])) == 3


def test_what_the_base_is_made_of_is_written_beside_it() -> None:
    require_qemu()
    description = json.loads((images_folder() / "base.json").read_text())
    base = load_base()
    assert description["kernel"] == hashlib.sha256(base.kernel).hexdigest()
    assert description["initramfs"] == hashlib.sha256(base.initramfs).hexdigest()
    assert any(name.startswith("nftables_") for name in description["packages"])


def test_a_base_that_was_never_built_is_refused_and_told_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAFW_IMAGES", str(tmp_path))
    with pytest.raises(PlatformUnable) as refusal:
        load_base()
    assert refusal.value.message == f"the guests' base must have been built, and is not there: {tmp_path / 'vmlinuz'}"
    assert refusal.value.hint == "`images/build` builds it from Debian packages, without root, in less than a minute"


def test_a_base_of_another_recipe_is_refused_and_told_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_guests()
    for each in images_folder().iterdir():
        (tmp_path / each.name).symlink_to(each)
    description = json.loads((images_folder() / "base.json").read_text())
    (tmp_path / "base.json").unlink()
    (tmp_path / "base.json").write_text(json.dumps(description | {"recipe": "00"}))
    monkeypatch.setenv("VAFW_IMAGES", str(tmp_path))
    with pytest.raises(PlatformUnable) as refusal:
        load_base()
    assert refusal.value.message == (
        f"the guests' base must be of this vafw's recipe, and that in {tmp_path} is of another"
    )

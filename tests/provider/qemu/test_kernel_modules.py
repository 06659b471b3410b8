from __future__ import annotations

from pathlib import Path

import pytest

from vafw.errors import PlatformUnable
from vafw.provider.qemu.kernel_modules import depends, find, load_order


def module(folder: Path, name: str, needs: str) -> None:
    (folder / f"{name}.ko").write_bytes(b"\x7fELF...\0license=GPL\0depends=" + needs.encode() + b"\0retpoline=Y\0")


@pytest.fixture
def modules(tmp_path: Path) -> dict[str, Path]:
    module(tmp_path, "virtio", "")
    module(tmp_path, "virtio-ring", "virtio")
    module(tmp_path, "virtio_pci", "virtio,virtio-ring")
    module(tmp_path, "llc", "")
    return find(tmp_path)


def test_each_module_comes_after_those_that_it_needs_and_once(modules: dict[str, Path]) -> None:
    assert load_order(["virtio_pci", "virtio", "llc"], modules) == ("virtio", "virtio_ring", "virtio_pci", "llc")


def test_a_module_that_names_no_dependency_has_none() -> None:
    assert depends(b"\0depends=\0") == depends(b"nothing") == ()


def test_a_module_that_is_not_there_is_refused(modules: dict[str, Path]) -> None:
    with pytest.raises(
        PlatformUnable, match=r"^the kernel package must have the module drm, and has none of that name$"
    ):
        load_order(["drm"], modules)

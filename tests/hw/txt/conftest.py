from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import Chipset, SigningKey, SmxProcessor, TxtPlatform, bios_acm, build_sinit, model_key, senter
from vafw.hw.txt.outcome import LaunchOutcome
from vafw.provider.model.loader import LaunchFiles, LoadedMemory, place
from vafw.provider.model.measure import provision
from vafw.tcg.algorithms import SHA1, SHA256
from vafw.txt import lcp
from vafw.vmm.image import build_image, image_hash

KEY = SigningKey(model_key.MODULUS, model_key.PRIVATE_EXPONENT)
MEMORY_SIZE = 64 << 20


@dataclass
class Rig:
    """A PC after the BIOS ACM, with everything loaded that a launch needs."""

    platform: TxtPlatform
    files: LaunchFiles
    loaded: LoadedMemory

    def load(self) -> None:
        """What the loader does, once more."""
        self.loaded = place(self.platform, self.files)

    def launch(self, edx: int = 0) -> LaunchOutcome:
        return senter(self.platform, self.loaded.sinit.base, self.loaded.sinit.size, edx)


RigMaker: TypeAlias = Callable[[], Rig]
Tool: TypeAlias = Callable[..., str]


@pytest.fixture(scope="session")
def files() -> LaunchFiles:
    vmm = build_image({"vmm/vmm.py": b"the VMM" * 500, "address.py": b"addresses"}, "quiet")
    _, data = lcp.policy_for([image_hash(vmm)])
    return LaunchFiles(build_sinit(b"the code of SINIT" * 20, KEY), vmm, data.encode())


@pytest.fixture(scope="session")
def make_rig(files: LaunchFiles) -> RigMaker:
    def make() -> Rig:
        memory = PhysicalMemory(MEMORY_SIZE)
        tpm = Tpm((SHA256, SHA1), lambda count: bytes(count - 1) + b"\1")
        tpm.startup()
        provision(tpm, lcp.policy_for([image_hash(files.vmm)])[0])
        processors = [SmxProcessor(number) for number in range(4)]
        platform = TxtPlatform(memory, Chipset(memory, KEY.public_key_hash), tpm, processors)
        bios_acm.run(platform)
        return Rig(platform, files, place(platform, files))

    return make


@pytest.fixture
def rig(make_rig: RigMaker) -> Rig:
    return make_rig()


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Runs a program of Debian's package `tboot` in a folder of its own, or skips."""

    def run(program: str, *arguments: str) -> str:
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
        if found is None:
            pytest.skip(f"{program} of the package tboot is not installed")
        done = subprocess.run([found, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout

    return run

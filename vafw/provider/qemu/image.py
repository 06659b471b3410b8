"""A guest's image: the kernel, an initramfs put together for one VM's program, and the kernel's command line.

    base.cpio.gz       busybox, Python, nft, kernel modules     the same for every guest (`base.py`)
    agent.cpio.gz      TLS and signatures, as one packed file   the same for every guest with an agent
    library            vafw.traffic and what lies below it      the same for every guest
    agent's library    the agent, and the MQTT client           the same for every guest with an agent
    the image's own    the program's folder, image.json

What is measured is `manifest`: the digest of kernel and initramfs, and the command line. The very bytes that were
measured are what a VM boots (`child.sealed`), whatever happens to the files they were read from.

What runs is chosen by what the plan gives a VM: a ruleset is enforced by the guest's kernel, every other appliance is
its program between two interfaces, and the user's OS is Linux itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from vafw.errors import PlatformUnable
from vafw.plan.plan import VmPlan, VmRole, canonical_json
from vafw.provider.qemu.base import Base, compile_tree, images_folder
from vafw.provider.qemu.cpio import Entry, archive, read_tree
from vafw.provider.qemu.guest.libraries import BOOT_SCRIPT

COMMAND_LINE: Final = "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on net.ifnames=0 audit=0" + (
    " rootfstype=ramfs"
)
"""One for all: a panic ends the VM, and a VM that has ended is seen; files may take more than half of the memory."""
LIBRARY_PARTS: Final = (
    "__init__.py",
    "trace.py",
    "traffic",
    "provider/__init__.py",
    "provider/qemu/__init__.py",
    "provider/qemu/guest",
)
"""Parts of `vafw` that a guest has."""
AGENT_PARTS: Final = (
    "errors.py",
    "address.py",
    "clock.py",
    "fabric",
    "machine",
    *(f"openssh/{each}.py" for each in ("__init__", "public_key", "signature")),
    *(
        f"control/{each}.py"
        for each in ("__init__", "access", "agent", "approval", "bus", "envelope", "pacing", "start", "topics")
    ),
)
"""Parts of `vafw` that a guest with an agent has besides."""
AGENT: Final = "agent"
"""The package of the agent's program, beside the appliances."""
_APPLIANCES: Final = "vafw_appliances"
_FOR_AGENTS: Final = re.compile(rb"^(?:from|import) cryptography\b", re.MULTILINE)
"""How a program imports something of `recipe.AGENT_MODULES`."""


@dataclass(frozen=True, slots=True)
class GuestImage:
    """One image, whole."""

    name: str
    kernel: bytes
    initramfs: bytes
    command_line: str = COMMAND_LINE

    @property
    def manifest(self) -> bytes:
        """What is measured, as canonical JSON."""
        return canonical_json(
            {
                "command-line": self.command_line,
                "initramfs": hashlib.sha256(self.initramfs).hexdigest(),
                "kernel": hashlib.sha256(self.kernel).hexdigest(),
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the manifest: what is extended, and what reference values accept."""
        return hashlib.sha256(self.manifest).digest()


def runs(vm: VmPlan) -> str:
    """What the guest's first process becomes: ``desktop``, ``filter`` or ``program``."""
    if vm.role is VmRole.USER_OS:
        return "desktop"
    return "filter" if "ruleset" in vm.config else "program"


def build_image(vm: VmPlan, base: Base) -> GuestImage:
    """The image of a VM, from the base and the folder that the plan names."""
    description = {
        "name": vm.image.name,
        "runs": runs(vm),
        "module": f"{_APPLIANCES}.{vm.image.folder.name}.{vm.image.program.removesuffix('.py')}",
    }
    parts = [
        base.initramfs,
        _compiled(_library(("vafw", LIBRARY_PARTS), ("dnslib", ("",)))),
        _compiled(_program(vm.image.folder)),
    ]
    if vm.role is VmRole.APPLIANCE:
        description["agent"] = f"{_APPLIANCES}.{AGENT}"
        library = _library(("vafw", AGENT_PARTS), ("aiomqtt", ("",)), ("paho.mqtt", ("",)))
        agent = _program(vm.image.folder.parent / AGENT)
        parts += [archive({"agent.cpio.gz": Entry.file(base.agent)}), _compiled(library | agent)]
    own = {"vafw/image.json": Entry.file(canonical_json(dict(description)))}
    if vm.role is VmRole.APPLIANCE and wants_libraries(_program(vm.image.folder)):
        own["vafw/libraries"] = Entry.file(BOOT_SCRIPT.encode())
    return GuestImage(vm.image.name, base.kernel, b"".join((*parts, archive(own))))


def wants_libraries(program: Mapping[str, bytes]) -> bool:
    """Whether a program of these files cannot be imported without what is packed for agents."""
    return any(_FOR_AGENTS.search(source) for source in program.values())


def _program(folder: Path) -> dict[str, bytes]:
    """A program's Python files, by name below ``/vafw``."""
    return _read({f"{_APPLIANCES}/{folder.name}/{each.name}": each for each in folder.glob("*.py")})


def _library(*packages: tuple[str, tuple[str, ...]]) -> dict[str, bytes]:
    """The Python files of parts of packages, by name below ``/vafw``; none of them is imported here."""
    sources: dict[str, Path] = {}
    for package, parts in packages:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise PlatformUnable(f"the package {package} must be installed to be put into an image")
        root = Path(found.origin).parent
        above = root.parents[package.count(".")]
        for part in parts:
            place = root / part
            for path in sorted(place.rglob("*.py")) if place.is_dir() else (place,):
                sources[path.relative_to(above).as_posix()] = path
    return _read({name: path for name, path in sources.items() if "/test" not in name})


def _read(sources: Mapping[str, Path]) -> dict[str, bytes]:
    try:
        return {name: path.read_bytes() for name, path in sources.items()}
    except OSError as error:
        raise PlatformUnable(f"an image's file must be readable: {error.filename} ({error.strerror})") from error


def _compiled(sources: Mapping[str, bytes]) -> bytes:
    """Python files and their compiled modules as an archive; kept, as the same files always give the same bytes."""
    key = hashlib.sha256(json.dumps({name: _hash(data) for name, data in sorted(sources.items())}).encode()).hexdigest()
    kept = images_folder() / f"compiled-{key[:32]}.cpio"
    if kept.exists():
        return kept.read_bytes()
    with tempfile.TemporaryDirectory(dir=images_folder(), prefix="compiling-") as name:
        tree = Path(name) / "vafw"
        for each, data in sources.items():
            (tree / each).parent.mkdir(parents=True, exist_ok=True)
            (tree / each).write_bytes(data)
        compile_tree(images_folder() / "python", tree)
        made = archive(read_tree(Path(name), [tree]))
        (Path(name) / "made").write_bytes(made)
        (Path(name) / "made").replace(kept)
    return made


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

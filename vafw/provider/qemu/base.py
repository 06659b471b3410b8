"""The base of guests: a kernel, and an initramfs with busybox, Python and nft, out of Debian packages.

    fetch packages ─▶ unpack ─▶ choose files ─▶ compile the standard library ─▶ vmlinuz, base.cpio.gz, agent.cpio.gz

Every guest has `base.cpio.gz`; those with an agent have `agent.cpio.gz` besides, a
file of which nothing is unpacked before the guest is healthy: TLS, signatures.

Built once, by `images/build`, into ``$VAFW_IMAGES`` or ``~/.cache/vafw/images``; never on the way to a start, as
another set of packages is another base, which the reference values would have to accept first. The same packages
always give the same bytes: names sorted, times zero, compiled modules without times of their own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vafw.errors import PlatformUnable
from vafw.provider.qemu import kernel_modules
from vafw.provider.qemu.cpio import Entry, archive, read_tree
from vafw.provider.qemu.packages import Package, depended_on, fetch
from vafw.provider.qemu.recipe import (
    AGENT_EXTENSIONS,
    AGENT_MODULES,
    AGENT_PACKAGES,
    AGENT_SHARED_LIBRARIES,
    AGENT_STANDARD_LIBRARY,
    EXTENSIONS,
    INIT,
    KERNEL_PACKAGE,
    NOT_WANTED,
    PACKAGES,
    PROTOCOLS,
    SHARED_LIBRARIES,
)
from vafw.trace import Value

PYTHON: Final = "usr/bin/python3.11"
STANDARD_LIBRARY: Final = "usr/lib/python3.11"
PACKAGED_MODULES: Final = "usr/lib/python3/dist-packages"
_LOADER: Final = "lib64/ld-linux-x86-64.so.2"
_LIBRARIES: Final = "x86_64-linux-gnu"
_BLOCK: Final = 512
_COMPILE_TIMEOUT_S: Final = 60
_RECIPE: Final = ("recipe.py", "kernel_modules.py")
_BUILD: Final = "`images/build` builds it from Debian packages, without root, in less than a minute"
_FILES: Final = ("vmlinuz", "base.cpio.gz", "agent.cpio.gz", "base.json")


@dataclass(frozen=True, slots=True)
class Base:
    """A kernel, the part of the initramfs that every guest has, and the packed files that those with an agent have."""

    kernel: bytes
    initramfs: bytes
    agent: bytes


def images_folder() -> Path:
    """Where built images lie."""
    return Path(os.environ.get("VAFW_IMAGES") or Path.home() / ".cache" / "vafw" / "images")


def load_base() -> Base:
    """The base as it was built; PlatformUnable where it was not, or by another recipe than this vafw's."""
    folder = images_folder()
    try:
        built = Base(*((folder / each).read_bytes() for each in _FILES[:3]))
        described = (folder / "base.json").read_bytes()
    except OSError as error:
        raise PlatformUnable(
            f"the guests' base must have been built, and is not there: {error.filename}", hint=_BUILD
        ) from error
    if _recipe_of(described) != recipe_digest():
        raise PlatformUnable(
            f"the guests' base must be of this vafw's recipe, and that in {folder} is of another", hint=_BUILD
        )
    return built


def recipe_digest() -> str:
    """SHA-256 of what says how a base is made."""
    sources = (Path(__file__).with_name(each).read_bytes() for each in _RECIPE)
    return hashlib.sha256(b"".join(sources)).hexdigest()


def build_base() -> Path:
    """Build the base anew; the folder that it now lies in, with ``base.json`` that says what it was made of."""
    target = images_folder()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix="building-") as name:
        folder = Path(name)
        packages = fetch([*PACKAGES, *AGENT_PACKAGES, depended_on(KERNEL_PACKAGE)], folder)
        root = folder / "root"
        agent = _packed(_agent(root))
        built = Base(_only(root / "boot", "vmlinuz-*").read_bytes(), _packed(_entries(root)), agent)
        (folder / "vmlinuz").write_bytes(built.kernel)
        (folder / "base.cpio.gz").write_bytes(built.initramfs)
        (folder / "agent.cpio.gz").write_bytes(built.agent)
        (folder / "base.json").write_text(_description(built, packages), encoding="utf-8")
        for each in _FILES:
            (folder / each).replace(target / each)
        shutil.rmtree(target / "python", ignore_errors=True)
        _python_tree(root, folder / "python").rename(target / "python")
    return target


def compile_tree(root: Path, tree: Path, *, keep_sources: bool = True) -> None:
    """Compile the Python modules below `tree` by the guest's own Python, which lies below `root`.

    The compiled modules carry no times, and are not checked against their sources when they are loaded.
    """
    search = ":".join(str(root / each / _LIBRARIES) for each in ("lib", "usr/lib"))
    python = [str(root / _LOADER), "--library-path", search, str(root / PYTHON), "-I", "-S"]
    compiler = ["-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(tree)]
    where = [] if keep_sources else ["-b"]
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0"}
    command = [*python, *compiler, *where, str(tree)]
    command.remove("-I")  # which would ignore PYTHONHOME
    subprocess.run(command, env=environment, timeout=_COMPILE_TIMEOUT_S, check=True, stdout=subprocess.DEVNULL)
    if not keep_sources:
        for each in tree.rglob("*.py"):
            each.unlink()


def _entries(root: Path) -> dict[str, Entry]:
    entries = {
        "init": Entry.file(INIT.encode(), executable=True),
        "etc/protocols": Entry.file(PROTOCOLS.encode()),
        "bin/busybox": Entry.file((root / "bin/busybox").read_bytes(), executable=True),
        **{folder: Entry.folder() for folder in ("dev", "proc", "sys", "run", "vafw")},
        PYTHON: Entry.file((root / PYTHON).read_bytes(), executable=True),
        "usr/sbin/nft": Entry.file((root / "usr/sbin/nft").read_bytes(), executable=True),
        _LOADER: Entry.file((root / _LOADER).resolve().read_bytes(), executable=True),
        **_shared_libraries(root, SHARED_LIBRARIES),
        **_kernel_modules(root),
    }
    return entries | _standard_library(root) | _extensions(root, EXTENSIONS)


def _agent(root: Path) -> dict[str, Entry]:
    """What an agent's Python imports that nobody else's does."""
    with tempfile.TemporaryDirectory() as name:
        for place, patterns in ((STANDARD_LIBRARY, AGENT_STANDARD_LIBRARY), (PACKAGED_MODULES, AGENT_MODULES)):
            for each in (found for pattern in patterns for found in (root / place).glob(pattern)):
                _copy(each, Path(name) / each.relative_to(root))
        compile_tree(root, Path(name), keep_sources=False)
        entries = read_tree(Path(name), [Path(name)])
    return entries | _extensions(root, AGENT_EXTENSIONS) | _shared_libraries(root, AGENT_SHARED_LIBRARIES)


def _packed(entries: Mapping[str, Entry]) -> bytes:
    """An archive that the kernel unpacks as it reads it; what follows it in an initramfs begins at a block again."""
    data = gzip.compress(archive(entries), mtime=0)
    return data + bytes(-len(data) % _BLOCK)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def _shared_libraries(root: Path, names: Iterable[str]) -> dict[str, Entry]:
    """Shared libraries, with the links by which programs ask for them."""
    found: dict[str, Entry] = {}
    for folder in (root / "lib" / _LIBRARIES, root / "usr/lib" / _LIBRARIES):
        found |= read_tree(root, (each for name in names for each in folder.glob(f"{name}.so*")))
    return found


def _kernel_modules(root: Path) -> dict[str, Entry]:
    modules = kernel_modules.find(root / "lib/modules")
    lists = {"devices": kernel_modules.DEVICES, "filter": kernel_modules.FILTER, "router": kernel_modules.ROUTER}
    entries: dict[str, Entry] = {}
    for name, wanted in lists.items():
        order = kernel_modules.load_order(wanted, modules)
        entries |= {f"modules/{each}.ko": Entry.file(modules[each].read_bytes()) for each in order}
        entries[f"modules/{name}"] = Entry.file("".join(f"{each}\n" for each in order).encode())
    return entries


def _standard_library(root: Path) -> dict[str, Entry]:
    """The standard library as compiled modules, without their sources."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / STANDARD_LIBRARY
        unwanted = shutil.ignore_patterns(*NOT_WANTED)
        shutil.copytree(root / STANDARD_LIBRARY, copy, symlinks=True, ignore=unwanted)
        compile_tree(root, copy, keep_sources=False)
        return read_tree(Path(name), [copy])


def _extensions(root: Path, names: Iterable[str]) -> dict[str, Entry]:
    folder = root / STANDARD_LIBRARY / "lib-dynload"
    return read_tree(root, (each for name in names for each in folder.glob(f"{name}.*.so")))


def _python_tree(root: Path, target: Path) -> Path:
    """What compiling needs of the packages, kept for the images that come after."""
    for each in (_LOADER, PYTHON):
        (target / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2((root / each).resolve(), target / each)
    for each in (f"lib/{_LIBRARIES}", f"usr/lib/{_LIBRARIES}", STANDARD_LIBRARY):
        shutil.copytree(root / each, target / each, symlinks=True)
    return target


def _recipe_of(description: bytes) -> Value:
    """The digest that a ``base.json`` says, or nothing."""
    try:
        found = json.loads(description)
    except ValueError:
        return None
    return found.get("recipe") if isinstance(found, dict) else None


def _description(built: Base, packages: tuple[Package, ...]) -> str:
    description: Mapping[str, object] = {
        "kernel": hashlib.sha256(built.kernel).hexdigest(),
        "initramfs": hashlib.sha256(built.initramfs).hexdigest(),
        "agent": hashlib.sha256(built.agent).hexdigest(),
        "recipe": recipe_digest(),
        "packages": {each.file: each.sha256 for each in packages},
    }
    return json.dumps(description, indent=1) + "\n"


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found

"""Images of appliances: what is measured is what runs.

An image is the deterministic archive of a folder: its manifest `appliance.yaml` and its programs (every
``*.py`` but ``__init__.py``). Each file is opened once; the digest, and the code that is compiled and
executed, both come from those bytes, so nothing that happens to the folder later matters. A program may
import its neighbours relatively (``from . import rules``) or as ``vafw_appliances.<folder>``: they too come
out of the archive, whenever the import is executed. What it imports from elsewhere, from `vafw` above all,
is the platform's own and not part of the image.
"""

from __future__ import annotations

import builtins
import hashlib
import linecache
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, final

from vafw.errors import VafwError
from vafw.vmm.archive import pack, unpack

MANIFEST: Final = "appliance.yaml"
_PACKAGE_FILE: Final = "__init__.py"
_APPLIANCES: Final = "vafw_appliances"


class ImageError(VafwError):
    """A folder that makes no image, or an image that holds no such program."""


@dataclass(frozen=True, slots=True)
class Image:
    """One measured image."""

    name: str
    data: bytes
    """The archive."""
    folder: str = ""
    """The folder's name, under which its programs may import each other as ``vafw_appliances.<folder>``."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the archive: what the VMM extends and what reference values accept."""
        return hashlib.sha256(self.data).digest()

    def files(self) -> dict[str, bytes]:
        """The files in it, by name."""
        return unpack(self.data)


def load(folder: Path, name: str | None = None) -> Image:
    """Read a folder into an image, each file opened once; it carries the folder's name unless told otherwise."""
    files = {each.name: _read_once(each) for each in sorted(folder.glob("*.py")) if each.name != _PACKAGE_FILE}
    if not files:
        raise ImageError(f"an image's folder must hold a program, not none: {folder}")
    return Image(name or folder.name, pack({MANIFEST: _read_once(folder / MANIFEST), **files}), folder.name)


def _read_once(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"an image's file must be readable and no symbolic link: {path} ({error.strerror})") from error


def program(image: Image, file: str = "guest.py") -> ModuleType:
    """Execute a program of the image and return its module, the appliance's entry points in it.

    Tracebacks name ``<image firewall>/guest.py`` and show the measured lines. ImageError where the file is
    missing or is no Python; what the program itself raises while it is executed passes through.
    """
    files = image.files()
    if file not in files:
        raise ImageError(f"image {image.name} must hold {file}, not only {', '.join(files)}")
    return _MeasuredModules(image, files).module(file.removesuffix(".py"))


@final
class _MeasuredModules:
    """The modules of one execution of one image: made from the measured bytes, imported only by each other.

    The modules get an `__import__` of their own. The obvious way, a finder in `sys.meta_path`, binds too
    little: it has to be taken out again, and an import inside a function would then reach the folder.
    """

    def __init__(self, image: Image, files: dict[str, bytes]) -> None:
        self._image = image
        self._files = files
        self._package = f"vafw_image_{image.digest.hex()[:16]}"
        self._modules: dict[str, ModuleType] = {}

    def module(self, stem: str) -> ModuleType:
        """The module of one file, executed at its first import."""
        if stem in self._modules:
            return self._modules[stem]
        code = self._compile(f"{stem}.py")
        made = self._modules[stem] = ModuleType(f"{self._package}.{stem}")
        made.__dict__.update(
            __file__=code.co_filename,
            __package__=self._package,
            __builtins__={**vars(builtins), "__import__": self._import},
        )
        sys.modules[made.__name__] = made  # dataclasses and typing look a class's module up there
        exec(code, made.__dict__)
        return made

    def _compile(self, file: str) -> CodeType:
        place = f"<image {self._image.name}>/{file}"
        try:
            source = self._files[file].decode()
            code = compile(source, place, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise ImageError(f"the program {place} must be valid Python: {error}") from error
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        return code

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` for the image's modules: neighbours from the archive, other appliances never."""
        own = f"{_APPLIANCES}.{self._image.folder}"
        if level == 0 and name.partition(".")[0] != _APPLIANCES:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        stem = name if level == 1 else name.removeprefix(own).removeprefix(".")
        if level > 1 or (level == 0 and not f"{name}.".startswith(f"{own}.")) or not fromlist:
            raise ImportError(f"a program must import from its own image, by `from . import name`, not {name!r}")
        if stem:
            return self._found(stem)
        package = ModuleType(self._package)
        for each in fromlist:
            setattr(package, each, self._found(each))
        return package

    def _found(self, stem: str) -> ModuleType:
        if f"{stem}.py" not in self._files:
            raise ImportError(f"image {self._image.name} must hold {stem}.py, not only {', '.join(self._files)}")
        return self.module(stem)

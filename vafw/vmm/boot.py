"""What the VMM leaves in a VM's memory for its kernel: the machine it has, its ports, its program's configuration.

At `BOOT_GPA` stand 16 bytes (magic, version, length) and then UTF-8 JSON. It plays the part of firmware tables. Nothing
here is trusted by the VMM afterwards; a guest that rewrites its own description only fools itself.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from vafw.errors import VafwError
from vafw.trace import Value

BOOT_GPA: Final = 0x10_0000
BOOT_LIMIT: Final = 15 << 20
"""Bytes that the description may take: up to guest-physical 16 MiB, where a kernel's own memory begins."""
_HEADER: Final = struct.Struct("<8sII")
_MAGIC: Final = b"vafwboot"
_VERSION: Final = 1


class BootInformationError(VafwError):
    """What stands at `BOOT_GPA` is not a description of a machine."""


@dataclass(frozen=True, slots=True)
class LinkPortInformation:
    """A port on a link: rings in the guest's memory, doorbell by hypercall."""

    name: str
    number: int
    vector: int


@dataclass(frozen=True, slots=True)
class FunctionInformation:
    """An assigned PCI function: its registers and its interrupt."""

    name: str
    device_class: str
    window: int
    """Guest-physical address of BAR0."""
    vector: int
    port: str | None
    """The network port it feeds, of a network function."""


@dataclass(frozen=True, slots=True)
class BootInformation:
    """The whole description."""

    vm: str
    memory: tuple[tuple[int, int], ...]
    """RAM as (guest-physical address, bytes)."""
    ports: tuple[LinkPortInformation, ...]
    functions: tuple[FunctionInformation, ...]
    config: Mapping[str, Value]

    def encode(self) -> bytes:
        """The bytes for `BOOT_GPA`; ValueError where they do not fit."""
        body = json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False).encode()
        if len(body) + _HEADER.size > BOOT_LIMIT:
            raise ValueError(f"a boot description must fit into {BOOT_LIMIT} bytes, not {len(body)}")
        return _HEADER.pack(_MAGIC, _VERSION, len(body)) + body

    @classmethod
    def read(cls, read: Callable[[int, int], bytes]) -> BootInformation:
        """Decode with a function that loads guest memory (address, length)."""
        magic, version, length = _HEADER.unpack(read(BOOT_GPA, _HEADER.size))
        if magic != _MAGIC or version != _VERSION or length > BOOT_LIMIT:
            raise BootInformationError(f"boot information must be {_MAGIC!r} version 1, not {magic!r} {version}")
        tree = json.loads(read(BOOT_GPA + _HEADER.size, length))
        return cls(
            tree["vm"],
            tuple((start, size) for start, size in tree["memory"]),
            tuple(LinkPortInformation(**each) for each in tree["ports"]),
            tuple(FunctionInformation(**each) for each in tree["functions"]),
            tree["config"],
        )

"""Which kernel modules a guest loads, and in what order: each after those that it needs.

A module names what it needs itself, in its section ``.modinfo`` (``depends=``), so that neither depmod nor a running
kernel of that version is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from vafw.errors import PlatformUnable

_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)\0")

DEVICES: Final = ("virtio_pci", "virtio_net", "virtio_console")
"""Drivers of the devices that every VM has."""
_NFTABLES: Final = (
    "nf_tables",
    "nft_ct",
    "nft_log",
    "nf_log_syslog",
    "nft_objref",
    "nft_limit",
    "nf_conntrack_netlink",
)
FILTER: Final = (*_NFTABLES, "bridge", "nf_conntrack_bridge", "nft_meta_bridge", "nft_reject_bridge")
"""What a VM that filters on a bridge needs besides."""
ROUTER: Final = (
    *_NFTABLES,
    "nft_fib_inet",
    "nft_reject_inet",
    "nft_chain_nat",
    "nft_nat",
    "nf_flow_table_inet",
    "nft_flow_offload",
)
"""What a VM that filters and routes needs besides: the family inet, translation, the flow table."""
BUILT_IN: Final = frozenset({"ipv6"})


def find(folder: Path) -> dict[str, Path]:
    """The modules below a folder, by name."""
    return {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}


def load_order(wanted: Iterable[str], modules: Mapping[str, Path]) -> tuple[str, ...]:
    """`wanted` and all they need, in an order that can be loaded; PlatformUnable where one is not there."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        if name in order:
            return
        if name not in modules:
            raise PlatformUnable(f"the kernel package must have the module {name}, and has none of that name")
        for needed in depends(modules[name].read_bytes()):
            add(needed)
        order[name] = None

    for each in wanted:
        add(each)
    return tuple(order)


def depends(module: bytes) -> tuple[str, ...]:
    """The modules that a module's own text says it needs."""
    found = _DEPENDS.search(module)
    names = found[1].decode().replace("-", "_").split(",") if found else []
    return tuple(name for name in names if name)

"""What the sub-verbs of `vafw model` share: page dumps and register values on the command line."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vafw.address import Bdf
from vafw.errors import InvalidDocument, PlatformUnable, UsageError, VafwError
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.page_dump import DumpedPages, PageDump
from vafw.hw.vtd.registers import Capability, ExtendedCapability

Function = TypeVar("Function", bound=Callable[..., Any])

HOST_ADDRESS_BITS: Final = 46
"""What is assumed of a machine whose DMAR table was not looked at."""
_TRANSLATION_TABLE_MODE: Final = 0b11 << 10
"""RTADDR TTM: 0 is legacy mode."""


def number(text: str) -> int:
    """A number in hexadecimal (0x...) or decimal, of 64 bits at most."""
    try:
        found = int(text, 0)
    except ValueError:
        raise click.BadParameter(f"must be a number such as 0x1000, not {text!r}") from None
    if not 0 <= found < 1 << 64:
        raise click.BadParameter(f"must fit 64 bits, not {text!r}")
    return found


def requester(text: str) -> Bdf:
    """Bus, device and function."""
    try:
        return Bdf.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def file_at_address(text: str) -> tuple[Path, int]:
    """FILE@ADDRESS: a file, and the host-physical address of its first byte."""
    path, at, address = text.rpartition("@")
    if not at or not path:
        raise click.BadParameter(f"must look like FILE@ADDRESS, for instance dump.bin@0x1000000, not {text!r}")
    return Path(path), number(address)


def memory_option(function: Function) -> Function:
    """`--memory FILE@ADDRESS`, as often as there are files."""
    return click.option(
        "--memory",
        "pages",
        metavar="FILE@ADDRESS",
        type=file_at_address,
        multiple=True,
        required=True,
        help="Pages dumped from host-physical ADDRESS on; give it once for each file.",
    )(function)


def unit_options(function: Function) -> Function:
    """`--rtaddr`, `--cap`, `--ecap`, and `--haw` or `--dmar`: the unit whose tables they are."""
    for option in (
        click.option(
            "--dmar",
            type=click.Path(path_type=Path),
            help="The machine's ACPI DMAR table (/sys/firmware/acpi/tables/DMAR), which says the width, too.",
        ),
        click.option(
            "--haw",
            type=click.IntRange(32, 52),
            help=f"Host address width in bits.  [default: {HOST_ADDRESS_BITS}]",
        ),
        click.option("--ecap", type=number, required=True, help="ECAP, the register at 0x10."),
        click.option("--cap", type=number, required=True, help="CAP, the register at 0x08."),
        click.option("--rtaddr", type=number, required=True, help="RTADDR, the register at 0x20."),
    ):
        function = option(function)
    return function


def open_dump(pages: Sequence[tuple[Path, int]]) -> PageDump:
    """Map the files; the dump's own errors name the file that is wrong."""
    return PageDump([DumpedPages(str(path), address, _mapped(path)) for path, address in pages])


def table_rules(cap: int, ecap: int, haw: int | None, dmar: Path | None) -> TableRules:
    """What the registers say about legal tables; PlatformUnable where they say nothing that a unit could."""
    width = _host_address_width(haw, dmar)
    rules = TableRules.of(Capability(cap), ExtendedCapability(ecap), host_address_bits=width)
    if not rules.levels:
        raise PlatformUnable(
            f"CAP must say in SAGAW (bits 12:8) which tables the unit takes, but {cap:#x} names none",
            hint="read CAP anew: it is the eight bytes at offset 0x08 of the unit's registers",
        )
    return rules


def root_table_address(rtaddr: int) -> int:
    """Where the root table stands; PlatformUnable for scalable mode, whose tables are others."""
    if rtaddr & _TRANSLATION_TABLE_MODE:
        raise PlatformUnable(
            f"RTADDR must say legacy mode (TTM = 0), but {rtaddr:#x} says mode {rtaddr >> 10 & 3}",
            hint="scalable mode has other tables, which vafw does not read; Linux uses legacy mode with "
            "intel_iommu=on,sm_off",
        )
    return rtaddr & ~0xFFF


def rights_text(rights: int) -> str:
    """Rights as ``rw``, ``r-`` or ``-w``."""
    return ("r" if rights & 1 else "-") + ("w" if rights & 2 else "-")


def size_text(size: int) -> str:
    """A size of memory in the largest unit that fits evenly."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if not size & (1 << shift) - 1:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def _host_address_width(haw: int | None, dmar: Path | None) -> int:
    """What was given, or what the DMAR table says; InvalidDocument for a file that is none."""
    if dmar is None:
        return HOST_ADDRESS_BITS if haw is None else haw
    if haw is not None:
        raise UsageError("--haw must not be given with --dmar, which says the width itself")
    from vafw.acpi.dmar import decode_dmar  # deferred: only this option needs it
    from vafw.wire import FormatError

    try:
        return decode_dmar(dmar.read_bytes()).host_address_width
    except FormatError as error:
        raise InvalidDocument(f"{dmar}: must be an ACPI DMAR table: {error}") from error


def _mapped(path: Path) -> memoryview:
    """A file's bytes, not read before they are asked for."""
    if path.is_dir():
        raise VafwError(f"{path}: must be a file of dumped pages, not a folder")
    with path.open("rb") as file:
        if not path.stat().st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

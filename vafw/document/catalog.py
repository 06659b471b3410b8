"""Where appliances and shipped policies are found, in a checkout as well as in an installed wheel.

An appliance is a folder with an `appliance.yaml`; its name is the folder's, with hyphens for underscores. The shipped
ones are found without importing them: what runs in an appliance is not loaded into the process that plans it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

MANIFEST: Final = "appliance.yaml"
"""The file that makes a folder an appliance."""
SEARCH_VARIABLE: Final = "VAFW_APPLIANCES"
"""Environment variable with further folders of appliances, separated like PATH."""


def appliances(beside: Path | None = None, environment: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Every appliance by name, with its folder.

    A folder `appliances/` in `beside` (the topology's folder) comes first, then the folders of `SEARCH_VARIABLE`, then
    what is shipped; the first of a name wins, so that a topology can bring its own. Which bytes then run is not decided
    here: images are measured against reference values.
    """
    found: dict[str, Path] = {}
    for collection in _collections(beside, os.environ if environment is None else environment):
        for manifest in sorted(collection.glob(f"*/{MANIFEST}")):
            found.setdefault(name_of(manifest.parent), manifest.parent)
    return found


def name_of(folder: Path) -> str:
    """The appliance's name that a folder stands for."""
    return folder.name.replace("_", "-")


def policies() -> Path | None:
    """The folder with the shipped examples and the schemas; None where they were not installed."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_policies", package.parent / "policies"):
        if folder.is_dir():
            return folder
    return None


def _collections(beside: Path | None, environment: Mapping[str, str]) -> Iterator[Path]:
    if beside is not None:
        yield beside / "appliances"
    for entry in environment.get(SEARCH_VARIABLE, "").split(os.pathsep):
        if entry:
            yield Path(entry)
    yield from _shipped()


def _shipped() -> Iterator[Path]:
    """Folders of the package `vafw_appliances`: installed, or in the checkout that this file is part of."""
    spec = importlib.util.find_spec("vafw_appliances")
    if spec is not None and spec.submodule_search_locations:
        yield from map(Path, spec.submodule_search_locations)
    else:
        yield Path(__file__).resolve().parents[2] / "appliances" / "vafw_appliances"

"""What a look at a run adds to the picture: a mark for each VM, counters for each link."""

from __future__ import annotations

from vafw_tui.feed import Look
from vafw_tui.marks import Mark, mark, speaks_unicode


def states(look: Look) -> dict[str, Mark]:
    """The state of each VM; nothing where nothing runs."""
    if not look.running:
        return {}
    return {str(vm["name"]): mark(str(vm["phase"])) for vm in look.snapshot.get("vms", ())}


def counters(look: Look) -> dict[str, str]:
    """Frames towards the user and towards the wire, of each link."""
    if not look.running:
        return {}
    down, up = ("↓", "↑") if speaks_unicode() else ("v", "^")
    return {
        str(link["name"]): f"{down}{link['frames-in']} {up}{link['frames-out']}"
        for link in look.snapshot.get("links", ())
    }

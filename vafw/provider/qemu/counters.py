"""What crossed each link, from what the kernels at its two ends counted."""

from __future__ import annotations

from collections.abc import Mapping

from vafw.machine.report import LinkCounters
from vafw.plan.plan import LinkPlan, Plan, Port
from vafw.trace import Value


def link_counters(plan: Plan, said: Mapping[str, Mapping[str, Value]]) -> tuple[LinkCounters, ...]:
    """Counters of every link; `said` is what each guest answered when it was last asked for a report."""
    return tuple(_link(link, said) for link in plan.links)


def _link(link: LinkPlan, said: Mapping[str, Mapping[str, Value]]) -> LinkCounters:
    outer, inner = _counted(link.outer, said), _counted(link.inner, said)
    lost = outer["frames-out"] - inner["frames-in"] + inner["frames-out"] - outer["frames-in"]
    return LinkCounters(
        link.name,
        frames_in=inner["frames-in"],
        frames_out=outer["frames-in"],
        bytes_in=inner["bytes-in"],
        bytes_out=outer["bytes-in"],
        undelivered=max(0, lost),
    )


def _counted(port: Port, said: Mapping[str, Mapping[str, Value]]) -> dict[str, int]:
    interfaces = said.get(port.vm, {}).get("interfaces")
    counted = interfaces.get(port.port) if isinstance(interfaces, dict) else None
    found = counted if isinstance(counted, dict) else {}
    return {key: int(str(found.get(key, 0))) for key in ("frames-in", "frames-out", "bytes-in", "bytes-out")}

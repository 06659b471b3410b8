"""A snapshot: everything there is to know of a run at one moment, as plain JSON that every face shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vafw.attest.result import AttestationResult
from vafw.machine.lifecycle import VmPhase
from vafw.machine.report import IsolationCheck, PlatformReport
from vafw.plan.plan import Plan
from vafw.supervisor.gate import GateDecision
from vafw.supervisor.steps import StepTree
from vafw.trace import Value

Configuration = Mapping[str, Mapping[str, Value]]
"""By appliance: ``desired`` and ``reported``, each with epoch, generation, hash and status."""


class RunPhase(StrEnum):
    """Where a run as a whole stands."""

    STARTING = "starting"
    UP = "up"
    REFUSED = "refused"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of one run."""

    plan: Plan
    phase: RunPhase
    since: str
    """When the run began, ISO 8601, UTC."""
    ended: str
    """When it ended, likewise; empty while it runs."""
    steps: StepTree
    vms: Mapping[str, VmPhase]
    vm_since: Mapping[str, str]
    """When each VM reached its phase; nothing for one that never started."""
    gate: GateDecision | None
    attestation: AttestationResult | None
    isolation: tuple[IsolationCheck, ...]
    report: PlatformReport
    configured: Configuration
    reason: str = ""
    """Why it was refused or failed."""

    def to_json(self) -> dict[str, Value]:
        """The snapshot as one JSON document."""
        return {
            "name": self.plan.name,
            "phase": self.phase.value,
            "since": self.since,
            "ended": self.ended or None,
            "reason": self.reason,
            "path": list(self.plan.path),
            "gate": self.gate.to_json() if self.gate else None,
            "attestation": self.attestation.to_json() if self.attestation else None,
            "vms": [self._vm(vm.name) for vm in self.plan.vms],
            "assignments": [dict(each) for each in self.report.assignments],
            "links": [
                {
                    "name": each.link,
                    "frames-in": each.frames_in,
                    "frames-out": each.frames_out,
                    "bytes-in": each.bytes_in,
                    "bytes-out": each.bytes_out,
                    "undelivered": each.undelivered,
                }
                for each in self.report.links
            ],
            "isolation": [
                {
                    "name": each.name,
                    "actor": each.actor,
                    "target": each.target,
                    "blocked": each.blocked,
                    "evidence": each.evidence,
                }
                for each in self.isolation
            ],
            "hardware": dict(self.report.hardware or {}),
            "wire": dict(self.report.wire or {}),
            "steps": self.steps.to_json(),
            "plan": self.plan.to_json(),
        }

    def _vm(self, name: str) -> dict[str, Value]:
        plan = self.plan.vm(name)
        report = next((each for each in self.report.vms if each.name == name), None)
        health = report.health if report else None
        return {
            "name": name,
            "role": plan.role.value,
            "image": plan.image.name,
            "phase": self.vms[name].value,
            "since": self.vm_since.get(name),
            "memory-bytes": plan.memory_bytes,
            "vcpus": plan.vcpus,
            "devices": [each.name for each in plan.functions],
            "health": {"healthy": health.healthy, "reason": health.reason} if health else None,
            "vm-exits": dict(report.vm_exits) if report else {},
            "appliance": dict(report.appliance) if report else {},
            "desired": None,
            "reported": None,
            **self.configured.get(name, {}),
        }

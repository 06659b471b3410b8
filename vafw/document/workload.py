"""A workload: what a small guest kernel does, step after step, so that ways of virtualizing it can be compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vafw.document.model import DocumentModel, Head, exactly_one, one_required

_KEYS = ("read", "write", "fault", "remap", "switch", "cpuid", "port", "msr", "mask", "interrupt", "idle")


class WorkloadStep(DocumentModel):
    """One thing to do: exactly one key."""

    read: int | None = Field(default=None, ge=1, le=512)
    """Load from that many pages of the current process, in turn."""
    write: int | None = Field(default=None, ge=1, le=512)
    """Store to that many pages of the current process, in turn."""
    fault: int | None = Field(default=None, ge=1, le=512)
    """Touch that many pages that are not present: the guest's own fault handler maps each, and they are unmapped."""
    remap: int | None = Field(default=None, ge=1, le=512)
    """Change the entries of that many pages, with INVLPG for each, as a copy-on-write break does."""
    switch: int | None = Field(default=None, ge=0, le=7)
    """Load CR3 with the address space of the process of that number."""
    cpuid: int | None = Field(default=None, ge=1, le=1000)
    """Execute CPUID that many times."""
    port: int | None = Field(default=None, ge=1, le=1000)
    """Write to an I/O port that many times."""
    msr: int | None = Field(default=None, ge=1, le=1000)
    """Write to a model-specific register that many times."""
    mask: int | None = Field(default=None, ge=1, le=1000)
    """Mask and unmask interrupts that many times."""
    interrupt: int | None = Field(default=None, ge=1, le=1000)
    """Be interrupted by a device that many times."""
    idle: int | None = Field(default=None, ge=1, le=1000)
    """Halt until the timer's interrupt, that many times."""

    model_config = one_required(*_KEYS)
    _either = model_validator(mode="after")(exactly_one(*_KEYS))


class Workload(Head):
    """What the guest does."""

    kind: Literal["workload"]
    """The kind of document."""
    processes: int = Field(default=1, ge=1, le=8)
    """Address spaces; the kernel's own pages are global in all of them."""
    pages: int = Field(default=64, ge=1, le=512)
    """Pages of 4 KiB that each of them has."""
    ept_page: Literal["4 KiB", "2 MiB"] = "2 MiB"
    """The size of EPT's pages, where there is EPT."""
    rounds: int = Field(default=1, ge=1, le=1000)
    """How often all the steps are done."""
    steps: tuple[WorkloadStep, ...] = Field(min_length=1)
    """The steps, in order."""

"""What would change between two plans: which VMs and links are created, altered or destroyed, and why.

Both sides are the JSON of a plan (`Plan.to_json`), since the plan of a running machine is what that machine says of
itself. Nothing here decides whether a change is allowed; it says what carrying it out would do to what runs.

    what differs                          the VM
    its configuration                     takes it while it runs          ~    live
    memory, vCPUs, functions, ports,      stops and starts again          !    restart
    whose signatures it asks for
    image or role                         is destroyed and made anew      -/+  recreate
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vafw.trace import Value


class Change(StrEnum):
    """What happens to an object, gentlest first; the value is the sign that `vafw plan` prints."""

    CREATE = "+"
    LIVE = "~"
    RESTART = "!"
    RECREATE = "-/+"
    DESTROY = "-"


_SEVERITY: Final = {change: rank for rank, change in enumerate(Change)}
_BY_FIELD: Final = {
    "config": Change.LIVE,
    "memory-bytes": Change.RESTART,
    "vcpus": Change.RESTART,
    "functions": Change.RESTART,
    "ports": Change.RESTART,
    "authority": Change.RESTART,
    "image": Change.RECREATE,
    "role": Change.RECREATE,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that changes."""

    change: Change
    kind: str
    """``vm``, ``link``, ``launch``, ``machine`` or ``path``."""
    name: str
    reasons: tuple[str, ...]
    """What differs, each like ``vcpus: 1 -> 2``."""

    def __str__(self) -> str:
        return f"{self.change.value:>3} {self.kind} {self.name}: {'; '.join(self.reasons)}"

    def to_json(self) -> dict[str, Value]:
        """The form that ``--json`` carries."""
        return {
            "change": self.change.name.lower(),
            "kind": self.kind,
            "name": self.name,
            "reasons": list(self.reasons),
        }


def difference(before: Mapping[str, Value] | None, after: Mapping[str, Value]) -> tuple[Difference, ...]:
    """What must happen to turn `before` into `after`; `before` is None where nothing runs.

    VMs first, in the order in which they start, then links, then what holds for the machine as a whole.
    """
    old: Mapping[str, Value] = before or {}
    found = [
        *_objects("vm", old.get("vms"), after.get("vms"), _BY_FIELD),
        *_objects("link", old.get("links"), after.get("links"), {}),
    ]
    if before is not None:
        for key in ("machine", "path", "launch"):
            if reasons := tuple(_differing(key, old.get(key), after.get(key))):
                gentle = key == "launch"
                found.append(Difference(Change.LIVE if gentle else Change.RECREATE, key, str(after["name"]), reasons))
    return tuple(found)


def summary(changes: Iterable[Difference], *, re_attest: bool) -> str:
    """The one line that ``vafw plan`` ends with; `re_attest` tells whether PCR 19 is expected to change."""
    listed = tuple(changes)
    if not listed and not re_attest:
        return "Plan: no changes."
    counts = {change: sum(each.change is change for each in listed) for change in Change}
    stopping = (Change.RESTART, Change.RECREATE, Change.DESTROY)
    user_stops = any(each.change in stopping and (each.kind, each.name) == ("vm", "user-os") for each in listed)
    return (
        f"Plan: {counts[Change.CREATE]} to create, {counts[Change.LIVE]} live, {counts[Change.RESTART]} restart "
        f"(user OS keeps running: {'no' if user_stops else 'yes'}), {counts[Change.RECREATE]} recreate, "
        f"{counts[Change.DESTROY]} to destroy. "
        f"Gate: {'re-attest needed (PCR 19 expected to change)' if re_attest else 'stays as it is'}."
    )


def _objects(kind: str, before: Value, after: Value, by_field: Mapping[str, Change]) -> Iterator[Difference]:
    old, new = _by_name(before), _by_name(after)
    for name, wanted in new.items():
        if name not in old:
            yield Difference(Change.CREATE, kind, name, ("new in this plan",))
            continue
        differing = [key for key in dict.fromkeys((*wanted, *old[name])) if wanted.get(key) != old[name].get(key)]
        if differing:
            change = max((by_field.get(key, Change.RECREATE) for key in differing), key=_SEVERITY.__getitem__)
            reasons = [reason for key in differing for reason in _differing(key, old[name].get(key), wanted.get(key))]
            yield Difference(change, kind, name, tuple(reasons))
    for name in old:
        if name not in new:
            yield Difference(Change.DESTROY, kind, name, ("not in this plan any more",))


def _by_name(listed: Value) -> dict[str, dict[str, Value]]:
    """A list of mappings that carry a name, by that name; empty for anything else."""
    if not isinstance(listed, list):
        return {}
    return {str(each["name"]): each for each in listed if isinstance(each, dict) and "name" in each}


def _differing(where: str, before: Value, after: Value) -> Iterator[str]:
    """Each place below `where` that differs, as ``where: before -> after``."""
    if before == after:
        return
    if isinstance(before, list) and isinstance(after, list):
        old, new = _by_name(before), _by_name(after)
        if len(old) == len(before) and len(new) == len(after):
            yield from _differing_entries(where, old, new, "[{}]")
            if list(old) != list(new) and old.keys() == new.keys():
                yield f"{where}: another order"
            return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _differing_entries(where, before, after, ".{}")
        return
    yield f"{where}: {_shown(before)} -> {_shown(after)}"


def _differing_entries(where: str, before: Mapping[str, Value], after: Mapping[str, Value], form: str) -> Iterator[str]:
    for key in dict.fromkeys((*before, *after)):
        place = where + form.format(key)
        if key not in before:
            yield f"{place}: added"
        elif key not in after:
            yield f"{place}: removed"
        else:
            yield from _differing(place, before[key], after[key])


def _shown(value: Value) -> str:
    if isinstance(value, dict):
        return f"{len(value)} entries"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]" if len(value) <= 4 else f"{len(value)} entries"
    return "nothing" if value is None else str(value)

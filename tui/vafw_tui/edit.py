"""What a person can do to a topology, each as one value that alters its document.

Pure. An operation is a sentence (for the history), a change (for the document), and the places of what it takes out. It
says nothing about whether the result is a good topology: that is for `vafw check`, which the problems panel shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Protocol

from vafw.document.consistency import USER_OS
from vafw_tui.round_trip import Place

_TOP: Final = "appliances"


class Operation(Protocol):
    """One intent of a person."""

    @property
    def sentence(self) -> str:
        """What it does, in a few words: ``insert ids``."""
        ...

    def dropped(self, document: Any) -> Iterable[Place]:
        """The places of a document that it takes out."""
        ...

    def change(self, document: Any) -> None:
        """Alter a document in place; doing so twice is as doing so once."""
        ...


@dataclass(frozen=True, slots=True)
class InsertAppliance:
    """A new appliance in the path."""

    name: str
    use: str
    position: int
    """Its index in the path; 0 is the network function, so 1 is the first place for an appliance."""

    @property
    def sentence(self) -> str:
        """What it does."""
        return f"insert {self.name}"

    def dropped(self, document: Any) -> Iterable[Place]:
        """Nothing."""
        return ()

    def change(self, document: Any) -> None:
        """Declare it and put it into the path."""
        if not isinstance(document.get(_TOP), dict):
            document[_TOP] = {}
        if self.name not in document[_TOP]:
            document[_TOP][self.name] = {"use": self.use}
        if isinstance(path := document.get("path"), list) and self.name not in path:
            path.insert(self.position, self.name)


@dataclass(frozen=True, slots=True)
class RemoveAppliance:
    """An appliance out of the topology; whatever else names it is left for the checks to point at."""

    name: str

    @property
    def sentence(self) -> str:
        """What it does."""
        return f"remove {self.name}"

    def dropped(self, document: Any) -> Iterable[Place]:
        """Its entry and its hop."""
        yield _TOP, self.name
        yield from _in_list(("path",), document.get("path"), self.name)

    def change(self, document: Any) -> None:
        """Take out its entry and its hop."""
        if isinstance(appliances := document.get(_TOP), dict):
            appliances.pop(self.name, None)
        if isinstance(path := document.get("path"), list) and self.name in path:
            del path[path.index(self.name)]


@dataclass(frozen=True, slots=True)
class MoveInPath:
    """An appliance one or more hops nearer to the wire or to the user."""

    name: str
    position: int
    """Its new index in the path."""

    @property
    def sentence(self) -> str:
        """What it does."""
        return f"move {self.name}"

    def dropped(self, document: Any) -> Iterable[Place]:
        """Nothing."""
        return ()

    def change(self, document: Any) -> None:
        """Take the hop out and put it in again."""
        path = document.get("path")
        if isinstance(path, list) and self.name in path and path.index(self.name) != self.position:
            del path[path.index(self.name)]
            path.insert(self.position, self.name)


@dataclass(frozen=True, slots=True)
class Assign:
    """A device of the machine to one VM, away from any other; to none with an empty name."""

    device: str
    vm: str = ""

    @property
    def sentence(self) -> str:
        """What it does."""
        return f"assign {self.device} to {self.vm}" if self.vm else f"assign {self.device} to no VM"

    def dropped(self, document: Any) -> Iterable[Place]:
        """Where it was assigned so far."""
        for name, vm in _vms(document):
            above: Place = (USER_OS,) if name == USER_OS else (_TOP, name)
            if name != self.vm:
                owned = vm.get("assign")
                yield from [(*above, "assign")] if owned == [self.device] else ()
                yield from _in_list((*above, "assign"), owned, self.device)

    def change(self, document: Any) -> None:
        """Take it out of every list but the one it belongs into."""
        for name, vm in _vms(document):
            owned = vm.get("assign")
            if name == self.vm:
                if not isinstance(owned, list):
                    vm["assign"] = [self.device]
                elif self.device not in owned:
                    owned.append(self.device)
            elif isinstance(owned, list) and self.device in owned:
                del owned[owned.index(self.device)]
                if not owned:
                    del vm["assign"]


@dataclass(frozen=True, slots=True)
class SetField:
    """One value of the document; None takes its key out."""

    place: Place
    value: Any

    @property
    def sentence(self) -> str:
        """What it does."""
        return f"set {'.'.join(map(str, self.place))}"

    def dropped(self, document: Any) -> Iterable[Place]:
        """The entry, where it is taken out."""
        return (self.place,) if self.value is None else ()

    def change(self, document: Any) -> None:
        """Write the value, with the mappings above it where there are none."""
        node = document
        for step in self.place[:-1]:
            if isinstance(node, dict) and not isinstance(node.get(step), dict | list):
                if self.value is None:
                    return
                node[step] = {}
            node = node[step]
        last = self.place[-1]
        old = node.get(last) if isinstance(node, dict) else node[last]
        if self.value is None:
            node.pop(last, None)
        elif isinstance(old, list) and isinstance(self.value, list):
            _become(old, self.value)
        elif not _same(old, self.value):
            node[last] = self.value


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or with the first number behind it that makes it a name that nobody has."""
    names = {*taken, USER_OS}
    numbered = (f"{wanted}-{number}" for number in range(2, len(names) + 3))
    return next(name for name in (wanted, *numbered) if name not in names)


def _same(old: Any, new: Any) -> bool:
    return isinstance(old, bool) is isinstance(new, bool) and bool(old == new)


def _become(old: list[Any], new: list[Any]) -> None:
    """Make a list say what another says, and leave alone, as they are written, the entries that both have."""
    for tag, start, end, new_start, new_end in reversed(SequenceMatcher(None, old, new, False).get_opcodes()):
        if tag != "equal":
            for at in reversed(range(start, end)):
                del old[at]
            for number, each in enumerate(new[new_start:new_end]):
                old.insert(start + number, each)


def _in_list(above: Place, entries: Any, entry: str) -> Iterator[Place]:
    if isinstance(entries, list) and entry in entries:
        yield (*above, entries.index(entry))


def _vms(document: Any) -> Iterator[tuple[str, Any]]:
    appliances = document.get(_TOP)
    if isinstance(appliances, Mapping):
        yield from ((name, vm) for name, vm in appliances.items() if isinstance(vm, dict))
    if isinstance(document.get(USER_OS), dict):
        yield USER_OS, document[USER_OS]

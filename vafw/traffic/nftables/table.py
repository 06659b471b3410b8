"""A table of nftables as a value: its objects, verdict maps and chains; as text to load, or as the text of an edit.

Both texts are one transaction of ``nft -f``: the kernel takes all of it or nothing, and no packet sees a half. An edit
adds what is new, changes only the elements of maps that differ, rewrites only the chains that differ, and removes what
is left over, in the order in which the kernel accepts it. It holds the counters of everything that stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_LONGEST_LINE: Final = 512
"""Elements in one line of an edit; nft reads lines into memory whole."""


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """A map from concatenated intervals to verdicts; intervals of different elements never overlap."""

    key: str
    """What is looked up: ``ip saddr . ip daddr . tcp dport``."""
    elements: Mapping[str, str]
    """Interval, then what nftables writes behind it: ``comment "web" : accept``."""

    def entries(self) -> tuple[str, ...]:
        """The elements as nftables text."""
        return tuple(f"{key} {verdict}" for key, verdict in self.elements.items())


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: where it hangs, and its rules."""

    rules: tuple[str, ...]
    hook: str = ""
    """Such as ``type filter hook forward priority filter; policy drop;``; empty: others jump to it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table."""

    family: str
    name: str
    objects: Mapping[str, str] = field(default_factory=dict)
    """Counters, limits, sets and flow tables: kind and name, then what stands in the braces."""
    maps: Mapping[str, VerdictMap] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    """In an order in which each is declared before it is jumped to."""

    def text(self) -> str:
        """Text for ``nft -f`` that replaces the table, whatever was in it."""
        head = f"table {self.family} {self.name}"
        return "\n".join([head, f"delete {head}", "", f"{head} {{", *self._declarations(), "}", ""])

    def _declarations(self) -> Iterator[str]:
        for name, body in self.objects.items():
            yield f"\t{name} {{ {body} }}" if body else f"\t{name} {{ }}"
        for name, chain in self.chains.items():
            if not chain.hook:
                yield from _chain_lines(name, chain)
        for name, verdict_map in self.maps.items():
            yield f"\n\tmap {name} {{\n\t\ttypeof {verdict_map.key} : verdict\n\t\tflags interval\n\t\tcounter"
            yield "\t\telements = {\n\t\t\t" + ",\n\t\t\t".join(verdict_map.entries()) + "\n\t\t}\n\t}"
        for name, chain in self.chains.items():
            if chain.hook:
                yield from _chain_lines(name, chain)

    def edit_from(self, old: Table) -> str:
        """Text for ``nft -f`` that makes this table of `old`; empty where they are equal."""
        if (old.family, old.name) != (self.family, self.name):
            raise ValueError(f"an edit must be of one table, not from {old.family} {old.name} to {self.name}")
        hooks = {name: chain.hook for name, chain in self.chains.items()}
        kept = {name: chain.hook for name, chain in old.chains.items() if name in hooks}
        objects = {name: self.objects[name] for name in old.objects if name in self.objects}
        if any(hooks[name] != hook for name, hook in kept.items()) or any(
            old.objects[name] != body for name, body in objects.items()
        ):
            return self.text()  # what hangs elsewhere, or counts otherwise, is no edit
        return "".join(f"{line}\n" for line in self._edit_lines(old))

    def _edit_lines(self, old: Table) -> Iterator[str]:
        here = f"{self.family} {self.name}"
        for name, body in self.objects.items():
            if name not in old.objects:
                kind, _, named = name.partition(" ")
                yield f"add {kind} {here} {named} {{ {body} }}"
        for name, chain in self.chains.items():
            if name not in old.chains:
                yield f"add chain {here} {name}" + (f" {{ {chain.hook} }}" if chain.hook else "")
        for name, verdict_map in self.maps.items():
            if name not in old.maps:
                yield f"add map {here} {name} {{ typeof {verdict_map.key} : verdict; flags interval; counter; }}"
        yield from self._element_edits(old, here)
        for name, chain in self.chains.items():
            before = old.chains.get(name)
            if before is None or before.rules != chain.rules:
                if before is not None:
                    yield f"flush chain {here} {name}"
                yield from (f"add rule {here} {name} {rule}" for rule in chain.rules)
        yield from (f"flush chain {here} {name}" for name in old.chains if name not in self.chains)
        yield from (f"delete map {here} {name}" for name in old.maps if name not in self.maps)
        yield from (f"delete chain {here} {name}" for name in old.chains if name not in self.chains)
        for name in old.objects:
            if name not in self.objects:
                yield f"delete {name.partition(' ')[0]} {here} {name.partition(' ')[2]}"

    def _element_edits(self, old: Table, here: str) -> Iterator[str]:
        for name, verdict_map in self.maps.items():
            before = old.maps[name].elements if name in old.maps else {}
            now = verdict_map.elements
            gone = [key for key, verdict in before.items() if now.get(key) != verdict]
            new = [f"{key} {verdict}" for key, verdict in now.items() if before.get(key) != verdict]
            for verb, entries in (("delete", gone), ("add", new)):
                for at in range(0, len(entries), _LONGEST_LINE):
                    yield f"{verb} element {here} {name} {{ {', '.join(entries[at : at + _LONGEST_LINE])} }}"


def _chain_lines(name: str, chain: Chain) -> Iterator[str]:
    yield ""
    yield f"\tchain {name} {{"
    if chain.hook:
        yield f"\t\t{chain.hook}"
    yield from (f"\t\t{rule}" for rule in chain.rules)
    yield "\t}"

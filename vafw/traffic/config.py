"""Reads plain JSON into checked values: each reader says where it looked, what must stand there and what does.

For configuration that reaches a program from outside it (an appliance's `config`), where pydantic is not at hand: an
appliance's VM carries nothing but `vafw.traffic`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from vafw.trace import Value
from vafw.traffic.address_set import AddressSet


def mapping(value: Value, where: str, keys: Collection[str]) -> Mapping[str, Value]:
    """A mapping with no other keys than these."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping, not {value!r}")
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise ValueError(f"{where} must have no keys but {', '.join(sorted(keys))}, not {unknown[0]!r}")
    return value


def sequence(value: Value, where: str) -> Sequence[Value]:
    """A list."""
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list, not {value!r}")
    return value


def text(value: Value, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where} must be a text, not {value!r}")
    return value


def texts(value: Value, where: str) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(text(each, f"{where}[{at}]") for at, each in enumerate(sequence(value, where)))


def choice(value: Value, where: str, choices: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{where} must be one of {', '.join(choices)}, not {value!r}")
    return value


def boolean(value: Value, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{where} must be true or false, not {value!r}")
    return value


def integer(value: Value, where: str, low: int, high: int) -> int:
    """An integer from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{where} must be an integer from {low} to {high}, not {value!r}")
    return value


def port_range(value: Value, where: str) -> tuple[int, int]:
    """A port such as ``443`` or a range such as ``8000-8080``."""
    first, dash, last = str(value).partition("-")
    if first.isdecimal() and (last.isdecimal() if dash else True):
        low, high = int(first), int(last) if dash else int(first)
        if low <= high <= 0xFFFF:
            return low, high
    raise ValueError(f"{where} must be a port from 0 to 65535 or a range such as 8000-8080, not {value!r}")


def addresses(value: Value, where: str) -> AddressSet:
    """A list of addresses, networks and ranges."""
    try:
        return AddressSet.from_texts(texts(value, where))
    except ValueError as error:
        raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from error

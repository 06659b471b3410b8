"""The base of every document model and the value types that documents share.

Documents are frozen, refuse keys they do not know and carry a format version. They are not the working model: `plan`
compiles them to plain dataclasses. Keys are written in kebab-case, fields are named in snake_case.

A value type refuses with `refusal`: the code of the diagnostic, the end of the sentence "KEY must be ...", and a hint;
`shape` puts the key and the place to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_interface, ip_network
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StringConstraints
from pydantic_core import PydanticCustomError

FORMAT_VERSION: Final = 1

Addresses = TypeVar("Addresses")

_SIZE = re.compile(r"([0-9]{1,12}) ?(KiB|MiB|GiB|TiB)")
_SIZE_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DAY: Final = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
_DURATION = re.compile(r"([0-9]{1,9}) ?(s|min|h|d)")
_DURATION_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def refusal(code: str, sentence: str, hint: str | None = None) -> PydanticCustomError:
    """The error a validator raises: `sentence` continues "KEY ", as in ``must be ..., not ...``."""
    return PydanticCustomError("refusal", "{sentence}", {"code": code, "sentence": sentence, "hint": hint})


def parse_size(value: object) -> object:
    """Turn ``2 GiB`` into bytes; ValueError says what was expected."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise refusal(
            "VAFW-D009",
            f"must be a size with its unit, such as 256 MiB or 2 GiB, not {written(value)}",
            "write a whole number and one of KiB, MiB, GiB, TiB",
        )
    return int(found[1]) * _SIZE_UNITS[found[2]]


def parse_duration(value: object) -> object:
    """Turn ``5 min`` into seconds; ValueError says what was expected."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise refusal(
            "VAFW-D010",
            f"must be a time with its unit, such as 30 s or 5 min, not {written(value)}",
            "write a whole number and one of s, min, h, d",
        )
    return int(found[1]) * _DURATION_UNITS[found[2]]


def parse_day(value: object) -> str:
    """Take a day such as ``2027-01-31``; ValueError says what was expected."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    hint = "write year, month and day, each with all its digits"
    raise refusal("VAFW-D030", f"must be a day, such as 2027-01-31, not {written(value)}", hint)


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """Read ``10.0.0.0/8`` or ``fc00::/7``; bits after the prefix are refused."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    wanted = f"must be a range of addresses, such as 10.0.0.0/8 or fc00::/7, not {written(value)}"
    if not isinstance(value, str):
        raise refusal("VAFW-D011", wanted)
    try:
        return _ordinary(ip_network(value))
    except ValueError as error:
        raise refusal("VAFW-D011", *_network_problem(value, wanted)) from error


def parse_interface(value: object) -> IPv4Interface | IPv6Interface:
    """Read ``10.0.0.2/24`` or ``2001:db8::2/64``; the prefix length must be given."""
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value
    wanted = f"must be an address with its prefix length, such as 10.0.0.2/24, not {written(value)}"
    if not isinstance(value, str):
        raise refusal("VAFW-D011", wanted)
    try:
        found = _ordinary(ip_interface(value))
    except ValueError as error:
        raise refusal("VAFW-D011", wanted) from error
    if "/" not in value:
        raise refusal("VAFW-D011", wanted, f"write the prefix length too: {value}/{24 if found.version == 4 else 64}")
    if found.ip.is_multicast or found.ip.is_unspecified:
        raise refusal("VAFW-D011", f"must be an address that one VM can have, not {written(value)}")
    return found


def parse_address(value: object) -> str:
    """Read ``10.0.0.1`` or ``2001:db8::1`` and give it in its usual form."""
    try:
        if isinstance(value, str):
            return str(_ordinary(ip_address(value)))
    except ValueError:
        pass
    raise refusal("VAFW-D011", f"must be an IP address, such as 10.0.0.1 or 2001:db8::1, not {written(value)}")


def as_list(value: object) -> object:
    """Let one value stand for a list of one; an empty list is refused, for it would match nothing or everything."""
    if not isinstance(value, list | tuple):
        return (value,)
    if not value:
        raise refusal("VAFW-D020", "must have at least one entry", "leave the key out where nothing is to be named")
    return tuple(value)


def as_json(value: object) -> object:
    """A value of any shape as JSON has it, with lists for tuples."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise refusal("VAFW-D007", "must have finite numbers only, for JSON has no others")
    return value


def matches(pattern: str, code: str, sentence: str, hint: str | None = None) -> Callable[[object], str]:
    """A validator for text of one form; the form also stands in the JSON Schema."""
    form = re.compile(pattern)

    def check(value: object) -> str:
        if isinstance(value, str) and form.fullmatch(value):
            return value
        raise refusal(code, f"{sentence}, not {written(value)}", hint)

    return check


def text_of_form(pattern: str, code: str, sentence: str, hint: str | None = None) -> tuple[Any, Any]:
    """What `Annotated[str, *...]` takes for text of one form."""
    form = StringConstraints(pattern=f"^{pattern}$")
    check = BeforeValidator(matches(pattern, code, sentence, hint), json_schema_input_type=Annotated[str, form])
    return form, check


def written(value: object) -> str:
    """A value inside a message."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    text = str(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return ascii(text) if isinstance(value, str) else f"the number {text}"


def _ordinary(found: Addresses) -> Addresses:
    """Refuse what means another thing to each program: IPv6 with a zone id, and IPv6 that stands for IPv4."""
    if isinstance(found, IPv4Network):  # nearly always, and nothing to ask
        return found
    text = str(found)
    if "%" in text or text.startswith("::ffff:"):
        raise ValueError("zone ids and IPv4-mapped addresses are not taken")
    return found


def _network_problem(value: str, wanted: str) -> tuple[str, str | None]:
    try:
        meant = _ordinary(ip_network(value, strict=False))
    except ValueError:
        return wanted, None
    return (
        f"must have no bits after its prefix length, and {written(value)} has some",
        f"did you mean {meant}, or the one address {value.partition('/')[0]}/{meant.max_prefixlen}?",
    )


_NAME: Final = r"[a-z][a-z0-9-]{0,62}"
Name = Annotated[
    str,
    *text_of_form(
        _NAME,
        "VAFW-D008",
        "must be made of lower-case letters, digits and hyphens, and begin with a letter",
        "at most 63 characters, such as office-laptop",
    ),
]
"""A name: a lower-case letter, then letters, digits and hyphens, 63 characters at most."""
Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=str),
    Field(json_schema_extra={"examples": ["256 MiB", "2 GiB"], "pattern": f"^{_SIZE.pattern}$"}),
]
"""A size in bytes, written with its unit."""
Duration = Annotated[
    int,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    Field(json_schema_extra={"examples": ["30 s", "5 min"], "pattern": f"^{_DURATION.pattern}$"}),
]
"""A time span in seconds, written with its unit."""
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(parse_network, json_schema_input_type=str),
    Field(json_schema_extra={"examples": ["10.0.0.0/8", "fc00::/7"]}),
]
"""A range of addresses with a prefix length."""
Interface = Annotated[
    IPv4Interface | IPv6Interface,
    PlainValidator(parse_interface, json_schema_input_type=str),
    Field(json_schema_extra={"examples": ["10.0.0.2/24", "2001:db8::2/64"]}),
]
"""An address with the prefix length of its network."""
Address = Annotated[
    str,
    PlainValidator(parse_address, json_schema_input_type=str),
    Field(json_schema_extra={"examples": ["10.0.0.1", "2001:db8::1"]}),
]
"""An IP address."""
Sha256 = Annotated[
    str,
    *text_of_form(
        r"[0-9a-f]{64}",
        "VAFW-D014",
        "must be a SHA-256 digest of 64 lower-case hexadecimal digits",
        "`vafw measure --write` writes the digests of this machine; one without letters stands in quotes",
    ),
]
"""A SHA-256 digest in lower-case hexadecimal."""
Day = Annotated[str, PlainValidator(parse_day, json_schema_input_type=Annotated[str, Field(pattern=_DAY.pattern)])]
"""A day, as ISO 8601 writes it."""


def kebab(name: str) -> str:
    """The key that stands in a document for the field `name`."""
    return name.rstrip("_").replace("_", "-")


class DocumentModel(BaseModel):
    """Any mapping inside a document: frozen, unknown keys refused, keys in kebab-case."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=kebab,
        populate_by_name=False,
        strict=False,
    )


Model = TypeVar("Model", bound=DocumentModel)


def exactly_one(*fields: str) -> Callable[[Model], Model]:
    """A validator for mappings of which exactly one key is given."""

    def check(model: Model) -> Model:
        given = [name for name in fields if getattr(model, name) is not None]
        if len(given) != 1:
            names, given = [kebab(name) for name in fields], [kebab(name) for name in given]
            wanted = f"{', '.join(names[:-1])} and {names[-1]}"
            raise refusal(
                "VAFW-D016", f"must have exactly one of the keys {wanted}, not {' and '.join(given) or 'none'}"
            )
        return model

    return check


def one_required(*fields: str) -> ConfigDict:
    """What tells the JSON Schema of a model that exactly one of the keys is given."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [kebab(name)]} for name in fields]})


class Head(DocumentModel):
    """What every document begins with."""

    vafw: Literal[1]
    """The version of the document format; 1 is the only one so far."""
    name: Name
    """The document's own name."""

"""The form of a part of the topology, made from the JSON Schema that the pydantic models give.

Pure: which fields there are, of which sort, with which help, and whether a text is right for one. The sentence that
refuses a text is the model's own, so that a form and `vafw check` never disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError

from vafw.document.appliance import ConfigOption
from vafw.document.consistency import USER_OS
from vafw.document.machine import Device
from vafw.document.model import DocumentModel
from vafw.document.schema import schema
from vafw.document.topology import ApplianceUse, Link, Topology, UserOs
from vafw_tui.judgement import Surroundings
from vafw_tui.round_trip import Place
from vafw_tui.scene import Kind, Scene, Thing, link_number


class Sort(Enum):
    """How a field is filled in."""

    TEXT = "text"
    WHOLE = "whole"
    SWITCH = "switch"
    CHOICE = "choice"
    LIST = "list"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the document, or a fact from another one."""

    label: str
    help: str
    sort: Sort
    place: Place
    text: str
    """What the document says, as a person would type it; empty where it says nothing."""
    default: str = ""
    """What holds where the document says nothing."""
    choices: tuple[str, ...] = ()
    required: bool = False
    rule: Any = None
    """The pydantic adapter that knows what is right; None where anything is."""

    def value(self, text: str) -> Any:
        """What `text` puts into the document, None to say nothing; ValueError with the sentence that refuses it."""
        text = text.strip()
        if not text:
            if self.required:
                raise ValueError("must be given")
            return None
        value = _typed(self.sort, text)
        if self.rule is not None:
            try:
                self.rule.validate_python(tuple(value) if isinstance(value, list) else value, strict=True)
            except ValidationError as error:
                raise ValueError(_sentence(error)) from error
        return value


@dataclass(frozen=True, slots=True)
class Form:
    """What the inspector shows of one thing."""

    thing: Thing
    about: str
    fields: tuple[Field, ...]


_MODELS: Final[Mapping[str, type[DocumentModel]]] = {"UserOs": UserOs, "ApplianceUse": ApplianceUse, "Link": Link}


def form(thing: Thing, document: Any, scene: Scene, around: Surroundings) -> Form:
    """The form of `thing` in a topology as plain data."""
    document = document if isinstance(document, dict) else {}
    match thing.kind:
        case Kind.VM if thing.name == USER_OS:
            images = _names(around, "user-os")
            fields = _fields("UserOs", document.get(USER_OS), (USER_OS,), {"image": images})
            return Form(thing, schema_of("UserOs")["description"], tuple(fields))
        case Kind.VM:
            return _appliance(thing, document, around)
        case Kind.DEVICE:
            return Form(thing, "One PCI function of the machine.", tuple(_device(thing.name, scene, around)))
        case Kind.LINK if (number := link_number(thing, document)) is not None:
            fields = _fields("Link", document["links"][number], ("links", number), {})
            return Form(thing, schema_of("Link")["description"], tuple(fields))
        case Kind.LINK:
            return Form(thing, "A link of the path, which the VMM wires.", tuple(_link(thing.name, scene)))
    return Form(thing, schema_of("")["description"], tuple(_fields("", document, (), {})))


@cache
def schema_of(model: str) -> Mapping[str, Any]:
    """The JSON Schema of one model of the topology's document; of the document itself with an empty name."""
    whole = schema("topology")
    found: Mapping[str, Any] = whole["$defs"][model] if model else whole
    return found


def _appliance(thing: Thing, document: Mapping[str, Any], around: Surroundings) -> Form:
    appliances = document.get("appliances")
    entry = appliances.get(thing.name) if isinstance(appliances, dict) else None
    above: Place = ("appliances", thing.name)
    manifest = around.appliances.get(str(entry.get("use"))) if isinstance(entry, dict) else None
    fields = [*_fields("ApplianceUse", entry, above, {"use": _names(around, "appliance")})]
    if manifest is not None and isinstance(entry, dict):
        settings = entry.get("config")
        said = settings if isinstance(settings, dict) else {}
        fields += (_setting(name, option, said, above) for name, option in manifest.config.items())
    return Form(thing, manifest.summary if manifest else schema_of("ApplianceUse")["description"], tuple(fields))


def _names(around: Surroundings, role: str) -> tuple[str, ...]:
    return tuple(name for name, manifest in around.appliances.items() if manifest.role == role)


def _fields(model: str, said: Any, above: Place, offers: Mapping[str, tuple[str, ...]]) -> Iterator[Field]:
    """The fields of one model whose values are no mappings of their own."""
    described = schema_of(model)
    said = said if isinstance(said, dict) else {}
    for key, about in described["properties"].items():
        if _is_mapping(about) or _is_mapping(about.get("items", {})):
            continue
        choices = offers.get(key) or tuple(map(str, about.get("enum", ())))
        fixed = "const" in about or (key == "path" and not above)
        yield Field(
            label=key,
            help=str(about.get("description", "")).replace("``", ""),
            sort=Sort.FIXED if fixed else _sort(about, choices),
            place=(*above, key),
            text=_text(said.get(key)),
            default=_text(about.get("default")),
            choices=choices,
            required=key in described.get("required", ()),
            rule=_rule(_MODELS.get(model, Topology), key),
        )


def _is_mapping(about: Mapping[str, Any]) -> bool:
    """Whether a value has keys of its own, or may have, which belong into a form of their own."""
    return "$ref" in about or about.get("type") == "object" or any(map(_is_mapping, about.get("anyOf", ())))


def _sort(about: Mapping[str, Any], choices: tuple[str, ...]) -> Sort:
    if choices:
        return Sort.CHOICE
    sorts = {"integer": Sort.WHOLE, "boolean": Sort.SWITCH, "array": Sort.LIST}
    return sorts.get(str(about.get("type")), Sort.TEXT)


@cache
def _rule(model: type[DocumentModel], key: str) -> Any:
    """What pydantic demands of one field."""
    field = next(each for each in model.model_fields.values() if each.alias == key)
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind)


_OPTION_SORTS: Final = {"string": Sort.TEXT, "integer": Sort.WHOLE, "boolean": Sort.SWITCH}


def _setting(name: str, option: ConfigOption, said: Mapping[str, Any], above: Place) -> Field:
    """A setting as the appliance's manifest describes it."""
    return Field(
        label=name,
        help=option.summary,
        sort=_OPTION_SORTS.get(option.type, Sort.LIST),
        place=(*above, "config", name),
        text=_text(said.get(name)),
        default=_text(option.default),
    )


def _device(name: str, scene: Scene, around: Surroundings) -> Iterator[Field]:
    """What the machine's document says of a device, which is not edited here, and whose it is."""
    yield _fixed("assigned to", scene.owner(name) or "no VM", "The VM that it belongs to alone, by VT-d.")
    device = around.devices.get(name)
    if device is None:
        yield _fixed("device", "unknown", "The machine's document does not name it.")
        return
    said = device.model_dump(by_alias=True)
    texts = schema("machine")["$defs"][Device.__name__]["properties"]
    for key, value in said.items():
        shown = f"{value:#06x}" if key in ("vendor", "device") else _text(value)
        yield _fixed(key, shown or "none", str(texts[key].get("description", "")).replace("``", ""))


def _link(name: str, scene: Scene) -> Iterator[Field]:
    position = scene.hop_links.index(name) if name in scene.hop_links else 0
    outer, inner = scene.hops[position : position + 2]
    yield _fixed("outer end", f"{outer.name}.inside", "The end nearer to the wire.")
    yield _fixed("inner end", f"{inner.name}.outside", "The end nearer to the user.")


def _fixed(label: str, text: str, help_: str) -> Field:
    return Field(label, help_, Sort.FIXED, (), text)


def _typed(sort: Sort, text: str) -> Any:
    match sort:
        case Sort.WHOLE:
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"must be a whole number, not {text!r}") from None
        case Sort.SWITCH:
            return text == "true"
        case Sort.LIST:
            return [each.strip() for each in text.split(",") if each.strip()]
    return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(_joined(value))
    return str(value)


def _joined(values: Iterable[Any]) -> Iterator[str]:
    yield from (_text(each) for each in values)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    message = str(first["msg"])
    return message if message.startswith("must") else f"is wrong: {message[0].lower()}{message[1:]}"

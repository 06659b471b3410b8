"""A tree against a model: either the model, or every difference as a diagnostic that a person can act on.

pydantic finds the differences; this says them. Each of its errors names a path, which is followed through the tree as
far as it exists: what is left over is a missing key or a part of pydantic's own bookkeeping. Validation is strict, so
that the text `on` is no boolean and `"2"` no number: YAML has said already what is text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from vafw.document.characters import foreign_letter
from vafw.document.diagnostic import Diagnostic, did_you_mean, nearest, shown
from vafw.document.source import Span
from vafw.document.tree import MappingNode, ScalarNode, SequenceNode, Step, Tree, descend, plain

MOST_DIFFERENCES: Final = 200
"""How many differences are said of one document, so that a hostile one costs no more than a bad one."""

Model = TypeVar("Model", bound=BaseModel)


def fit(tree: Tree, model: type[Model]) -> tuple[Model | None, list[Diagnostic]]:
    """The model that `tree` describes, or None and all that keeps it from describing one."""
    try:
        return model.model_validate(plain(tree), strict=True), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    differences = [_difference(tree, model, each) for each in errors[:MOST_DIFFERENCES]]
    said = [_SENTENCES.get(each.kind, _other)(each) for each in differences if not _explained(each, differences)]
    if len(errors) > MOST_DIFFERENCES:
        more = f"the document must differ less from its kind: {len(errors) - MOST_DIFFERENCES} more differences"
        said.append(Diagnostic("VAFW-D023", more, _opening(tree.span)))
    return None, said


@dataclass(frozen=True, slots=True)
class _Difference:
    """One of pydantic's errors, put into the tree."""

    kind: str
    """pydantic's type of error."""
    path: tuple[Step, ...]
    """How far the path exists in the tree."""
    rest: tuple[Step, ...]
    """What is left of it."""
    node: Tree
    """What stands at the path."""
    key: Span | None
    """The key that the node stands under, where it stands under one."""
    owner: type[BaseModel] | None
    """The model of the mapping that the path leads to; for an unknown key, of the mapping it stands in."""
    about: Mapping[str, Any]
    """pydantic's context, with its own sentence as ``message``."""

    @property
    def subject(self) -> str:
        """What the sentence is about."""
        return _subject(self.path)


def _subject(path: tuple[Step, ...]) -> str:
    """What stands at a path: the key, or an entry of the list under it."""
    names = [str(step) for step in path if isinstance(step, str)]
    entry = f"entry {path[-1] + 1}" if path and isinstance(path[-1], int) else ""
    if not names:
        return entry or "the document"
    return f"{entry} of {shown_key(names[-1])}" if entry else shown_key(names[-1])


def shown_key(key: str) -> str:
    """A key inside a sentence: as it is where it cannot deceive, else quoted and escaped."""
    return key if key.isascii() and key.replace("-", "").isalnum() and len(key) < 40 else shown(key)


def _difference(tree: Tree, model: type[BaseModel], error: Any) -> _Difference:
    steps = tuple(step for step in error["loc"] if step != "[key]")
    nodes = list(descend(tree, steps))
    path, rest = steps[: len(nodes) - 1], steps[len(nodes) - 1 :]
    owner = _model_at(model, path[:-1] if error["type"] == "extra_forbidden" else path)
    about = {**error.get("ctx", {}), "message": error["msg"]}
    kind = "key" if "[key]" in error["loc"] else error["type"]
    return _Difference(kind, path, rest, nodes[-1], key_span(tree, path), owner, about)


def key_span(tree: Tree, path: tuple[Step, ...]) -> Span | None:
    """The key that the last step of `path` names, where it is one of a mapping."""
    above = list(descend(tree, path[:-1]))[-1]
    return above.keys.get(str(path[-1])) if path and isinstance(above, MappingNode) else None


def _model_at(annotation: Any, path: tuple[Step, ...]) -> type[BaseModel] | None:
    """The model that stands at `path` below `annotation`."""
    for model in _models(annotation):
        if not path:
            return model
        for field in model.model_fields.values():
            if field.alias == path[0]:
                return _model_at(field.annotation, path[1:])
    origin = get_origin(annotation)
    if path and origin in (dict, tuple):
        return _model_at(get_args(annotation)[1 if origin is dict else 0], path[1:])
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation allows: itself, or a member of a union."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (dict, tuple):
        return []
    return [model for each in get_args(annotation) for model in _models(each)]


def _fields(owner: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """The fields of a model by the key that stands in a document."""
    return {} if owner is None else {str(field.alias): field for field in owner.model_fields.values()}


def _explained(found: _Difference, all_differences: list[_Difference]) -> bool:
    """Whether another diagnostic says it: a key is missing because it is misspelt, entries because they are bad."""
    if found.kind == "too_short" and isinstance(found.node, SequenceNode):
        return len(found.node.items) >= int(found.about["min_length"])
    if found.kind != "missing" or not found.rest:
        return False
    strangers = [each for each in all_differences if each.kind == "extra_forbidden" and each.path[:-1] == found.path]
    return any(nearest(str(each.path[-1]), _fields(found.owner)) == found.rest[0] for each in strangers)


def _refusal(found: _Difference) -> Diagnostic:
    sentence, hint = str(found.about["sentence"]), found.about["hint"]
    return Diagnostic(
        str(found.about["code"]),
        f"{found.subject} {sentence}",
        _first_line(found),
        hint=hint,
        notes=_foreign(found.node),
    )


def _bad_key(found: _Difference) -> Diagnostic:
    key = str(found.path[-1])
    note = foreign_letter(key)
    return Diagnostic(
        str(found.about.get("code", "VAFW-D008")),
        f"the key {shown(key)} {found.about.get('sentence', 'must be a name').partition(', not')[0]}",
        found.key or found.node.span,
        hint=found.about.get("hint"),
        notes=(note,) if note else (),
    )


def _unknown_key(found: _Difference) -> Diagnostic:
    key, known = str(found.path[-1]), list(_fields(found.owner))
    return Diagnostic(
        "VAFW-D001",
        f"the keys of {_subject(found.path[:-1])} must be ones that are known, not {shown(key)}",
        found.key or found.node.span,
        "unknown key",
        hint=did_you_mean(key, known, otherwise=f"the keys here are {', '.join(known)}"),
    )


def _missing_key(found: _Difference) -> Diagnostic:
    key = str(found.rest[0]) if found.rest else ""
    if found.owner is None or key not in _fields(found.owner):
        return _other(found)
    from vafw.document.description import descriptions  # deferred: reads source, which a right document needs not

    purpose = descriptions(found.owner).get(key, "").rstrip(".")
    return Diagnostic(
        "VAFW-D002",
        f"{found.subject} must have the key {key}",
        found.key or _opening(found.node.span),
        f"{key} is missing here",
        hint=f"add `{key}: ...`: {purpose[0].lower() + purpose[1:]}" if purpose else f"add `{key}: ...`",
    )


def _wrong_type(wanted: str) -> Callable[[_Difference], Diagnostic]:
    def say(found: _Difference) -> Diagnostic:
        return Diagnostic(
            "VAFW-D005",
            f"{found.subject} must be {wanted}, not {described(found.node)}",
            _first_line(found),
            hint=_type_hint(wanted, found.node),
        )

    return say


def _wrong_word(found: _Difference) -> Diagnostic:
    wanted = str(found.about.get("expected", ""))
    words = [word.strip("'") for word in wanted.replace(" or ", ", ").split(", ")]
    text = found.node.value if isinstance(found.node, ScalarNode) else None
    near = nearest(text, words) if isinstance(text, str) else None
    return Diagnostic(
        "VAFW-D006",
        f"{found.subject} must be {wanted}, not {described(found.node)}",
        _first_line(found),
        hint=f"did you mean {near}?" if near else None,
    )


def _out_of_range(found: _Difference) -> Diagnostic:
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bound = next(f"{words} {found.about[sign]}" for sign, words in bounds.items() if sign in found.about)
    return Diagnostic("VAFW-D007", f"{found.subject} must be {bound}, not {_raw(found.node)}", _first_line(found))


def _wrong_count(found: _Difference) -> Diagnostic:
    count = found.about.get("actual_length", len(found.node.items) if isinstance(found.node, SequenceNode) else 0)
    bounds = {"max_length": "at most", "min_length": "at least"}
    wanted = next((f"{words} {found.about[bound]}" for bound, words in bounds.items() if bound in found.about), "other")
    return Diagnostic("VAFW-D020", f"{found.subject} must have {wanted} entries, and has {count}", _first_line(found))


def _other(found: _Difference) -> Diagnostic:
    """Anything that has no sentence of its own yet: pydantic's, which is correct if not kind."""
    if found.kind == "missing" and isinstance(found.node, SequenceNode):
        return Diagnostic("VAFW-D020", f"{found.subject} must have another entry", _first_line(found))
    return Diagnostic("VAFW-D005", f"{found.subject} is not right: {_plain_sentence(found)}", _first_line(found))


def _plain_sentence(found: _Difference) -> str:
    return str(found.about["message"]).removeprefix("Value error, ")


_RANGE: Final = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_SENTENCES: Final[dict[str, Callable[[_Difference], Diagnostic]]] = {
    "refusal": _refusal,
    "key": _bad_key,
    "extra_forbidden": _unknown_key,
    "missing": _missing_key,
    "literal_error": _wrong_word,
    "string_type": _wrong_type("text"),
    "int_type": _wrong_type("a whole number"),
    "int_from_float": _wrong_type("a whole number"),
    "bool_type": _wrong_type("true or false"),
    "tuple_type": _wrong_type("a list"),
    "dict_type": _wrong_type("a mapping"),
    "model_type": _wrong_type("a mapping"),
    "model_attributes_type": _wrong_type("a mapping"),
    "too_long": _wrong_count,
    "too_short": _wrong_count,
    **dict.fromkeys(_RANGE, _out_of_range),
}


def described(node: Tree) -> str:
    """What stands somewhere, for the end of a sentence."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    match node.value:
        case None:
            return "nothing"
        case bool():
            return _raw(node)
        case int() | float():
            return f"the number {_raw(node)}"
        case str():
            return f"the text {shown(node.value)}"


def _raw(node: Tree) -> str:
    """A scalar as it is written in the file."""
    text = node.span.text
    return text if len(text) <= 60 else f"{text[:57]}..."


def _type_hint(wanted: str, node: Tree) -> str | None:
    value = node.value if isinstance(node, ScalarNode) else None
    if wanted == "text" and isinstance(value, bool | int | float):
        return f'put it in quotes: "{_raw(node)}"'
    if wanted == "true or false" and isinstance(value, str) and value.lower() in _YES_AND_NO:
        return f"write {_YES_AND_NO[value.lower()]}; yes, no, on and off are text in YAML 1.2"
    if wanted == "a whole number" and isinstance(value, str) and value.isascii() and value.isdigit():
        return f"write it without quotes: {value}"
    if wanted == "a list" and isinstance(node, ScalarNode) and value is not None:
        return f"put it in brackets: [{_raw(node)}]"
    return None


_YES_AND_NO: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_YES_AND_NO.update({"true": "true", "false": "false"})


def _foreign(node: Tree) -> tuple[str, ...]:
    """A note for text that only looks like what it should be."""
    text = node.value if isinstance(node, ScalarNode) else None
    note = foreign_letter(text) if isinstance(text, str) else None
    return (note,) if note else ()


def _first_line(found: _Difference) -> Span:
    """Where to point: a scalar itself, else the key above it, else the beginning."""
    if isinstance(found.node, ScalarNode) and found.node.span.text:
        return found.node.span
    return found.key or _opening(found.node.span)


def _opening(span: Span) -> Span:
    """The first character of a mapping or a list."""
    return Span(span.source, span.line, span.column, span.line, span.column + 1)

"""JSON Schema of each kind of document, for editors that complete and check while one types.

The schema is the models' own, so an editor and vafw agree on keys, words, numbers and forms; what needs more than one
value (a range from low to high, two links of one name) only vafw says. The copies in `policies/schema` are what the
modelines of the shipped documents point to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from vafw.document.description import descriptions
from vafw.document.diagnostic import did_you_mean
from vafw.document.load import KINDS
from vafw.document.model import DocumentModel, Head
from vafw.errors import NoSuchObject


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of document; NoSuchObject where there is no such kind."""
    if kind not in KINDS:
        raise NoSuchObject(f"there is no kind of document {kind!r}", hint=did_you_mean(kind, KINDS))
    body = KINDS[kind].model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"https://vafw.invalid/schema/{kind}-1.json",
        **_described(_tidy(body), KINDS[kind]),
        "title": f"vafw {kind}",
    }


def schema_text(kind: str) -> str:
    """The schema as it stands in `policies/schema/KIND.json`."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def _described(body: dict[str, Any], model: type[Head]) -> dict[str, Any]:
    """The schema with the fields' docstrings as descriptions."""
    models = {each.__name__: each for each in _below(DocumentModel)}
    for name, definition in [(model.__name__, body), *body.get("$defs", {}).items()]:
        texts = descriptions(models[name])
        fields = definition["properties"]
        definition["properties"] = {key: {"description": texts[key], **field} for key, field in fields.items()}
    return body


def _below(model: type[DocumentModel]) -> Iterator[type[DocumentModel]]:
    """Every model derived from `model`."""
    for each in model.__subclasses__():
        yield each
        yield from _below(each)


def _tidy(node: Any) -> Any:
    """The schema without titles, which only repeat the key, and with defaults as they are written in a document."""
    if isinstance(node, dict):
        tidy = {key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
        if tidy.get("type") == "string" and isinstance(default := tidy.get("default"), int):
            tidy["default"] = f"{default >> 20} MiB"
        return tidy
    if isinstance(node, list):
        return [_tidy(each) for each in node]
    return node

"""The committed schemas are current, and the shipped documents carry them and obey them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from vafw.document.load import KINDS
from vafw.document.schema import schema, schema_text
from vafw.errors import NoSuchObject

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = ROOT / "policies" / "schema"
SHIPPED = sorted(
    [*(ROOT / "policies").glob("*/*.yaml"), *(ROOT / "appliances" / "vafw_appliances").glob("*/appliance.yaml")]
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_committed_schema_is_current(kind: str) -> None:
    assert (SCHEMAS / f"{kind}.json").read_text() == schema_text(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind: str) -> None:
    body = schema(kind)
    jsonschema.Draft202012Validator.check_schema(body)
    definitions = [body, *body.get("$defs", {}).values()]
    assert all(field["description"] for each in definitions for field in each["properties"].values())
    assert not any("_" in key for each in definitions for key in each["properties"])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_document_carries_its_schema_and_obeys_it(path: Path) -> None:
    text = path.read_text()
    document = yaml.safe_load(text)
    modeline, _, reference = text.splitlines()[0].partition("=")
    assert modeline == "# yaml-language-server: $schema"
    assert (path.parent / reference).resolve() == SCHEMAS / f"{document['kind']}.json"
    jsonschema.validate(document, json.loads((path.parent / reference).read_text()))


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "green"},
        {"name": "Office"},
        {"traffic": {"default": "accept"}},
        {"traffic": {"default": "drop", "prove": [{}]}},
        {"launch": {"re-attest": 300}},
    ],
)
def test_the_schema_refuses_what_vafw_refuses(change: dict[str, object]) -> None:
    document = {"vafw": 1, "kind": "policy", "name": "p", "traffic": {"default": "drop"}, **change}
    assert not jsonschema.Draft202012Validator(schema("policy")).is_valid(document)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(NoSuchObject) as caught:
        schema_text("toplogy")
    assert (str(caught.value), caught.value.hint) == (
        "there is no kind of document 'toplogy'",
        "did you mean 'topology'?",
    )

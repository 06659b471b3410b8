from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from vafw.control.change import Change, changed, config_of, text_at, texts_of, with_texts
from vafw.document.diagnostic import DocumentInvalid, Severity
from vafw.document.load import DocumentSet, load_topology
from vafw.errors import VafwError


@pytest.fixture(scope="module")
def documents() -> DocumentSet:
    return load_topology(ROOT / "policies" / "office-laptop" / "topology.yaml")


def after(documents: DocumentSet, text: str, appliance: str = "firewall") -> DocumentSet:
    return changed(documents, appliance, Change.parse(text))


@pytest.mark.parametrize(
    ("text", "path", "there"),
    [
        ("traffic.rules[web].service=[https, quic]", "traffic.rules[web].service", "[https, quic]"),
        ("traffic.rules[0].log=true", "traffic.rules[0].log", "true"),
        ("traffic.default = reject", "traffic.default", "reject"),
        ("traffic.rules[ping].action='drop'", "traffic.rules[ping].action", "'drop'"),
    ],
)
def test_a_value_of_the_policy_is_changed_in_its_text(documents: DocumentSet, text: str, path: str, there: str) -> None:
    found = after(documents, text)
    assert text_at(found, "firewall", path) == there
    before, now = documents.policy.source.lines, found.policy.source.lines
    assert sum(one != other for one, other in zip(before, now, strict=True)) == 1
    assert config_of(found, "firewall") != config_of(documents, "firewall")


def test_a_key_that_was_not_there_is_put_into_a_block(documents: DocumentSet) -> None:
    found = after(documents, "traffic.services={web-alt: {protocol: tcp, ports: [8080]}}")
    assert found.policy.model.traffic.services["web-alt"].ports == (8080,)


def test_an_appliances_own_configuration_is_changed_in_the_topology(documents: DocumentSet) -> None:
    found = after(documents, "config.block=[]", "dns")
    assert text_at(found, "dns", "config.block") == "[]"
    assert found.policy is documents.policy


def test_changes_build_on_each_other_and_texts_bring_them_back(documents: DocumentSet) -> None:
    twice = after(after(documents, "traffic.rules[web].log=true"), "traffic.rules[ping].log=true")
    again = with_texts(documents, texts_of(twice))
    assert config_of(again, "firewall") == config_of(twice, "firewall")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("traffic.rules[web].action", "a change must be written PATH=VALUE, not 'traffic.rules[web].action'"),
        ("=drop", "a change must be written PATH=VALUE, not '=drop'"),
        ("traffic.rules[wbe].action=drop", "traffic.rules must have an entry 'wbe', and has none"),
        ("traffic.rules[9].action=drop", "traffic.rules must have an entry '9', and has none"),
        ("traffic.default[web]=drop", "traffic.default must be a list in the documents, and is none"),
        ("traffic..default=drop", "a path must be keys with dots and entries in brackets, not 'traffic..default'"),
        ("traffic.a.b=drop", "traffic.a must be in the documents, and is not"),
        (
            "launch.require=none",
            "a path must begin with traffic (of the policy) or config (of the appliance), not with 'launch'",
        ),
        (
            "traffic.rules[ping].action=drop, log: true",
            "the value of traffic.rules[ping].action must be one YAML value, not 'drop, log: true'",
        ),
        (
            "traffic.default=drop\nrules: []",
            r"the value of traffic.default must be one YAML value, not 'drop\nrules: []'",
        ),
    ],
)
def test_a_change_that_is_none_is_refused(documents: DocumentSet, text: str, message: str) -> None:
    with pytest.raises(VafwError) as refusal:
        after(documents, text)
    assert refusal.value.message == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "traffic.rules[web].action=allow",
            "action must be 'accept', 'drop', 'reject', 'log' or 'mark', not the text 'allow'",
        ),
        ("traffic.rules[web].sevice=dns", "must be ones that are known, not 'sevice'"),
        ("traffic.rules[web].to=intranet", "a zone must be one that there is, not 'intranet'"),
        ("traffic.rules[web].action=drop", "every packet of this clause must pass, and 'web' stops one"),
    ],
)
def test_a_change_is_checked_like_the_documents_and_refused(documents: DocumentSet, text: str, message: str) -> None:
    with pytest.raises(DocumentInvalid) as refusal:
        config_of(after(documents, text), "firewall")
    found = next(each for each in refusal.value.diagnostics if each.severity is Severity.ERROR)
    assert found.message.endswith(message)
    assert found.span.source.path.name == "policy.yaml"
    assert Path(found.span.source.path).is_absolute()

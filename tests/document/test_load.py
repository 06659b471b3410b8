from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafw.document.appliance import Appliance
from vafw.document.diagnostic import Diagnostic, DocumentInvalid
from vafw.document.load import (
    KINDS,
    Document,
    DocumentSet,
    load_any,
    load_document,
    load_topology,
    read_document,
    read_listed,
)
from vafw.document.model import Head
from vafw.document.policy import Policy
from vafw.document.source import Source
from vafw.document.topology import Topology
from vafw.document.traffic_script import TrafficScript
from vafw.errors import ExitCode

ROOT = Path(__file__).parent.parent.parent
OFFICE = ROOT / "policies" / "office-laptop"
MANIFESTS = sorted((ROOT / "appliances" / "vafw_appliances").glob("*/appliance.yaml"))


def complaints(text: str, model: type[Head] = Policy) -> list[str]:
    with pytest.raises(DocumentInvalid) as caught:
        read_document(Source.of_text(text), model)
    return [f"{each.span.line}:{each.span.column} {each.code} {each.message}" for each in caught.value.diagnostics]


@pytest.fixture
def office(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OFFICE, tmp_path / "office"))


def test_the_shipped_example_loads_while_it_is_measured(office: Path) -> None:
    (office / "reference-values.yaml").unlink(missing_ok=True)
    documents = load_topology(office / "topology.yaml", measuring=True, environment={})
    assert documents.topology.model.path == ("nic", "firewall", "dns", "user-os")
    assert documents.topology.model.user_os.memory == 2 << 30
    assert documents.policy.model.launch.re_attest == 300
    assert documents.reference_values is None
    assert sorted(documents.appliances) == ["desktop", "dns-filter", "firewall"]
    assert list(documents.sha256) == ["topology", "machine", "policy"]


def test_the_shipped_example_lacks_reference_values_until_they_are_measured(office: Path) -> None:
    (office / "reference-values.yaml").unlink(missing_ok=True)
    with pytest.raises(DocumentInvalid) as caught:
        load_topology(office / "topology.yaml", environment={})
    assert caught.value.exit_code == ExitCode.INVALID_DOCUMENT
    assert caught.value.hint == "`vafw measure --write` writes it"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.parent.name))
def test_a_shipped_manifest_loads(path: Path) -> None:
    manifest = load_document(path, Appliance)
    assert manifest.model.name == path.parent.name.replace("_", "-")


def test_a_value_and_its_key_are_found_by_path() -> None:
    topology = load_document(OFFICE / "topology.yaml", Topology)
    assert topology.at("appliances", "dns", "config", "block", 0).text == "lists/ads.txt"
    assert topology.key_at("appliances", "dns", "config").text == "config"
    assert topology.at("path", 0, "deeper").text == "nic"
    assert topology.key_at("path", 2).text == "dns"


def test_every_kind_says_its_name() -> None:
    assert [get_args(model.model_fields["kind"].annotation) for model in KINDS.values()] == [(kind,) for kind in KINDS]


def test_a_file_of_any_kind_is_read_with_everything_it_names(office: Path) -> None:
    (office / "reference-values.yaml").write_text(
        f"vafw: 1\nkind: reference-values\nname: r\nsinit: [{{sha256: {'1a' * 32}}}]\nvmm: [{{sha256: {'2b' * 32}}}]\n"
    )
    assert isinstance(load_any(office / "topology.yaml", environment={}), DocumentSet)
    assert isinstance(load_any(office / "policy.yaml"), Document)


def test_a_bad_topology_is_refused_together_with_what_it_names() -> None:
    with pytest.raises(DocumentInvalid) as caught:
        load_any(ROOT / "tests" / "documents_bad" / "55-three-errors-in-three-files" / "topology.yaml")
    assert len(caught.value.diagnostics) == 3


def test_a_missing_topology_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        load_topology(tmp_path / "none.yaml")
    assert (
        str(caught.value)
        == f"{tmp_path}/none.yaml:1:1: the file {tmp_path}/none.yaml cannot be read: there is no such file"
    )


def test_a_listed_file_is_read_beside_the_topology(office: Path) -> None:
    documents = load_topology(office / "topology.yaml", measuring=True, environment={})
    source = read_listed(documents, documents.topology.at("name"), "lists/ads.txt")
    assert isinstance(source, Source)
    assert "ads.example" in source.lines


def test_a_listed_file_outside_is_refused_where_it_is_named(office: Path) -> None:
    documents = load_topology(office / "topology.yaml", measuring=True, environment={})
    span = documents.topology.at("appliances", "dns", "config", "block", 0)
    refused = read_listed(documents, span, "../../etc/passwd")
    assert isinstance(refused, Diagnostic)
    assert (refused.code, refused.span) == ("VAFW-F001", span)


def test_an_appliance_beside_the_topology_comes_before_the_shipped_one(office: Path) -> None:
    own = office / "appliances" / "firewall"
    own.mkdir(parents=True)
    (own / "appliance.yaml").write_text("vafw: 1\nkind: appliance\nname: firewall\nsummary: mine\n")
    documents = load_topology(office / "topology.yaml", measuring=True, environment={})
    assert documents.appliances["firewall"].model.summary == "mine"


def test_a_manifest_that_is_not_called_as_its_folder_is_refused(office: Path) -> None:
    own = office / "appliances" / "dns_filter"
    own.mkdir(parents=True)
    (own / "appliance.yaml").write_text("vafw: 1\nkind: appliance\nname: dns\nsummary: mine\n")
    with pytest.raises(DocumentInvalid, match=r"appliance\.yaml:3:7: name must be dns-filter, as the folder, not dns$"):
        load_topology(office / "topology.yaml", measuring=True, environment={})


POLICY = "vafw: 1\nkind: policy\nname: p\ntraffic:\n  default: drop\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  rules: {}\n", "6:3 VAFW-D005 rules must be a list, not a mapping"),
        ("  rules: web\n", "6:10 VAFW-D005 rules must be a list, not the text 'web'"),
        ("  zones: [a]\n", "6:3 VAFW-D005 zones must be a mapping, not a list"),
        (
            "  zones:\n    Lan: [10.0.0.0/8]\n",
            "7:5 VAFW-D008 the key 'Lan' must be made of lower-case letters, "
            "digits and hyphens, and begin with a letter",
        ),
        (
            "  services:\n    x: {protocol: icmp, types: [256]}\n",
            "7:33 VAFW-D007 entry 1 of types must be at most 255, not 256",
        ),
        ("  services:\n    x: {protocol: tcp, types: 8}\n", "7:5 VAFW-D021 x must have no types: tcp has none"),
        (
            "  services:\n    x: {protocol: tcp, ports: true}\n",
            "7:31 VAFW-D015 ports must be a port or a range of ports, such as 443 or 8000-8080, not true",
        ),
        ("management: {signatures: 1.5}\n", "6:26 VAFW-D005 signatures must be a whole number, not the number 1.5"),
        ("launch: {require: NO}\n", "6:19 VAFW-D006 require must be 'measured' or 'txt', not the text 'NO'"),
        (
            '  zones: {a: ["::ffff:10.0.0.0/104"]}\n',
            "6:15 VAFW-D011 entry 1 of a must be a range of addresses, such as 10.0.0.0/8 or fc00::/7, "
            "not '::ffff:10.0.0.0/104'",
        ),
        (
            '  zones: {a: ["fe80::%eth0/64"]}\n',
            "6:15 VAFW-D011 entry 1 of a must be a range of addresses, such as 10.0.0.0/8 or fc00::/7, "
            "not 'fe80::%eth0/64'",
        ),
        (
            "  rules:\n    - {name: a, action: drop, from: []}\n",
            "7:31 VAFW-D020 from must have at least one entry",
        ),
        ("launch:\n", "6:1 VAFW-D005 launch must be a mapping, not nothing"),
    ],
)
def test_a_difference_from_the_model_is_said_at_its_place(text: str, expected: str) -> None:
    assert complaints(POLICY + text) == [expected]


def test_a_name_of_five_thousand_characters_is_cut_in_the_message() -> None:
    (message,) = complaints(POLICY.replace("name: p", f"name: {'a' * 5000}"))
    assert len(message) < 250


def test_the_program_of_an_appliance_lies_in_its_folder() -> None:
    text = "vafw: 1\nkind: appliance\nname: a\nsummary: s\nprogram: ../evil.py\n"
    assert complaints(text, Appliance) == [
        "5:10 VAFW-D008 program must be the name of a file in this folder, such as guest.py, not '../evil.py'"
    ]


def test_a_setting_that_json_cannot_carry_is_refused() -> None:
    text = "vafw: 1\nkind: appliance\nname: a\nsummary: s\nconfig:\n  x: {type: integer, summary: s, default: [.inf]}\n"
    assert complaints(text, Appliance) == [
        "6:34 VAFW-D007 default must have finite numbers only, for JSON has no others"
    ]


def test_a_step_of_a_traffic_script_does_one_thing() -> None:
    text = "vafw: 1\nkind: traffic-script\nname: s\nsteps:\n  - {ping: a, resolve: b}\n  - {connect: c}\n"
    assert complaints(text, TrafficScript) == [
        "5:5 VAFW-D016 entry 1 of steps must have exactly one of the keys resolve, connect and ping, "
        "not resolve and ping",
        "6:5 VAFW-D016 entry 2 of steps must have the keys connect and port together, or neither",
    ]


def test_a_bad_key_and_a_missing_key_are_both_said() -> None:
    assert complaints("vafw: 1\nkind: policy\nname: p\n?: x\n") == [
        "1:1 VAFW-D002 the document must have the key traffic",
        "4:1 VAFW-D001 the keys of the document must be ones that are known, not '?'",
    ]


HEADS = st.sampled_from(["", *(f"vafw: 1\nkind: {kind}\nname: x\n" for kind in KINDS), POLICY])
WORDS = st.sampled_from(
    [
        "a",
        "traffic:",
        "rules:",
        "- ",
        "name: ",
        "{",
        "}",
        "[",
        "]",
        ": ",
        ", ",
        "\n",
        "  ",
        "1",
        "NO",
        "&a ",
        "*a",
        "!!str ",
        "prove:",
        "never:",
        "always:",
        "from: ",
        "zones:",
        "10.0.0.0/8",
        "path: ",
        "user-os",
        "devices:",
        "'",
        '"',
        "#",
        ">",
    ]
)


def outcome(source: Source) -> tuple[Diagnostic, ...]:
    try:
        read_document(source)
    except DocumentInvalid as refused:
        return refused.diagnostics
    return ()


@settings(max_examples=300)
@given(HEADS, st.lists(WORDS | st.text(max_size=4), max_size=25))
def test_any_text_is_a_document_or_refused(head: str, words: list[str]) -> None:
    assert all(each.hint for each in outcome(Source.of_text(head + "".join(words))))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "any.yaml")
        path.write_bytes(data)
        with pytest.raises(DocumentInvalid):
            load_document(path)

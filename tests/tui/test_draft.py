"""The draft: edits that keep what a person wrote, a history that survives saving, saving that loses nothing."""

from __future__ import annotations

import stat
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafw.document.source import Source
from vafw.document.tree import parse
from vafw_tui.comments import comments
from vafw_tui.draft import ChangedOnDisk, Draft
from vafw_tui.edit import Assign, InsertAppliance, MoveInPath, Operation, RemoveAppliance, SetField, free_name
from vafw_tui.round_trip import EditRefused, plain

OFFICE = (Path(__file__).parents[2] / "policies" / "office-laptop" / "topology.yaml").read_text()
BLOCK = """\
# first line
vafw: 1   # the version
kind: topology
name: "block"   # quoted
machine: machine.yaml
policy: 'policy.yaml'
reference-values: reference-values.yaml
user-os:
  image: desktop
  # about memory
  memory: 2 GiB
  assign:
    - display   # the screen
appliances:
  # the first
  firewall:
    use: firewall
    assign:
      - nic     # the card
  # the second
  dns:
    use:   dns-filter      # three spaces
    addresses:
      - "10.0.0.1/32"
  # behind the last
# the way
path:
  - nic       # the wire
  - firewall  # first hop
  - dns
  - user-os
# the end
"""
SHARED = BLOCK.replace("memory: 2 GiB", "memory: &much 2 GiB").replace(
    "    use: firewall\n", "    use: firewall\n    memory: *much\n"
)
TEXTS = (OFFICE, BLOCK, SHARED)

NAMES = st.sampled_from(["firewall", "dns", "ids", "proxy"])
OPERATIONS = st.one_of(
    st.builds(InsertAppliance, NAMES, st.sampled_from(["firewall", "dns-filter"]), st.integers(1, 3)),
    st.builds(RemoveAppliance, NAMES),
    st.builds(MoveInPath, NAMES, st.integers(1, 3)),
    st.builds(
        Assign, st.sampled_from(["nic", "display", "sound"]), st.sampled_from(["firewall", "dns", "user-os", ""])
    ),
    st.builds(
        SetField,
        st.sampled_from([("user-os", "memory"), ("appliances", "dns", "memory"), ("appliances", "firewall", "memory")]),
        st.sampled_from(["1 GiB", "512 MiB", "2 GiB", None]),
    ),
    st.builds(SetField, st.just(("user-os", "vcpus")), st.sampled_from([1, 2, 16])),
    st.builds(
        SetField,
        st.just(("user-os", "addresses")),
        st.lists(st.sampled_from(["10.0.0.2/24", "2001:db8:a::2/64", "10.0.0.9/24"]), min_size=1, unique=True),
    ),
)


def says(text: str) -> object:
    """What a text says."""
    tree, problems = parse(Source.of_text(text))
    assert tree is not None
    assert not problems
    return plain(tree)


def tried(draft: Draft, operation: Operation) -> bool:
    """Carry out an operation; false where it is refused, which must leave the text alone."""
    before = draft.text
    try:
        draft.apply(operation)
    except EditRefused:
        assert draft.text == before
        return False
    return True


@given(st.sampled_from(TEXTS), st.lists(OPERATIONS, max_size=6))
@settings(max_examples=60, deadline=None)
def test_undo_then_redo_is_as_if_nothing_was_done(text: str, operations: list[Operation]) -> None:
    draft = Draft(Path("topology.yaml"), text)
    texts = [draft.text]
    for operation in operations:
        tried(draft, operation)
        texts += [draft.text] if draft.text != texts[-1] else []
    for expected in reversed(texts[:-1]):
        assert draft.undo()
        assert draft.text == expected
    assert not draft.undo()
    for expected in texts[1:]:
        assert draft.redo()
        assert draft.text == expected
    assert not draft.redo()


@given(st.sampled_from(TEXTS), OPERATIONS)
@settings(max_examples=150, deadline=None)
def test_an_edit_keeps_every_comment_but_those_of_what_it_takes_out(text: str, operation: Operation) -> None:
    draft = Draft(Path("topology.yaml"), text)
    tried(draft, operation)
    lost = Counter(each for _, each in comments(text)) - Counter(each for _, each in comments(draft.text))
    entry = {"# the resolver it guards", "# the card", "# three spaces", "# first hop"}
    assert set(lost) <= {RemoveAppliance: entry, Assign: {"# the card", "# the screen"}}.get(type(operation), set())


@given(st.sampled_from(TEXTS), OPERATIONS)
@settings(max_examples=100, deadline=None)
def test_an_edit_says_what_its_operation_says_and_nothing_else(text: str, operation: Operation) -> None:
    draft = Draft(Path("topology.yaml"), text)
    wanted = says(text)
    operation.change(wanted)
    assert not tried(draft, operation) or says(draft.text) == wanted


@given(st.sampled_from([OFFICE, BLOCK]), OPERATIONS)
@settings(max_examples=100, deadline=None)
def test_only_a_move_of_a_hop_with_a_comment_is_refused(text: str, operation: Operation) -> None:
    draft = Draft(Path("topology.yaml"), text)
    assert tried(draft, operation) or isinstance(operation, MoveInPath)


@pytest.mark.parametrize("text", [*TEXTS, OFFICE.replace("\n", "\r\n"), "not: [yaml", "", "a: 1"])
def test_saving_without_a_change_leaves_every_byte(text: str, tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_bytes(text.encode())
    draft = Draft.open(file)
    draft.save()
    assert file.read_bytes() == text.encode()


def test_an_edit_touches_only_its_own_lines() -> None:
    draft = Draft(Path("topology.yaml"), BLOCK)
    draft.apply(InsertAppliance("ids", "dns-filter", 2))
    gone, come = set(BLOCK.splitlines()) - set(draft.text.splitlines()), draft.text.splitlines()
    assert gone == set()
    assert [line for line in come if line not in BLOCK.splitlines()] == ["  ids: {use: dns-filter}", "  - ids"]


def test_an_alias_is_replaced_and_its_anchor_stays() -> None:
    draft = Draft(Path("topology.yaml"), SHARED)
    draft.apply(SetField(("appliances", "firewall", "memory"), "256 MiB"))
    assert "memory: &much 2 GiB" in draft.text
    assert "    memory: 256 MiB\n" in draft.text


def test_history_survives_saving(laptop: Path) -> None:
    draft = Draft.open(laptop)
    draft.apply(RemoveAppliance("dns"))
    draft.save()
    assert draft.is_saved
    assert draft.undo()
    assert draft.text == OFFICE
    assert not draft.is_saved


def test_keystrokes_into_one_field_are_one_entry() -> None:
    draft = Draft(Path("topology.yaml"), OFFICE)
    for typed in ("1 GiB", "16 GiB", "160 GiB"):
        draft.apply(SetField(("user-os", "memory"), typed), grows="memory")
    assert "160 GiB" in draft.text
    assert draft.undo()
    assert draft.text == OFFICE


def test_line_ends_and_mode_of_the_file_stay(laptop: Path) -> None:
    laptop.write_bytes(OFFICE.replace("\n", "\r\n").encode())
    laptop.chmod(0o640)
    draft = Draft.open(laptop)
    draft.apply(SetField(("user-os", "vcpus"), 3))
    draft.save()
    assert laptop.read_bytes() == OFFICE.replace("vcpus: 2", "vcpus: 3").replace("\n", "\r\n").encode()
    assert stat.S_IMODE(laptop.stat().st_mode) == 0o640
    assert [each.name for each in laptop.parent.glob(".*")] == []


def test_a_file_that_somebody_else_changed_is_refused(laptop: Path) -> None:
    draft = Draft.open(laptop)
    draft.apply(RemoveAppliance("dns"))
    laptop.write_text(OFFICE + "# mine\n")
    with pytest.raises(ChangedOnDisk) as refusal:
        draft.save()
    assert refusal.value.message == f"{laptop} must be as it was read, and it was changed meanwhile"
    assert laptop.read_text() == OFFICE + "# mine\n"


def test_a_text_that_is_no_yaml_refused() -> None:
    draft = Draft(Path("topology.yaml"), "path: [nic")
    with pytest.raises(EditRefused) as refusal:
        draft.apply(RemoveAppliance("dns"))
    assert refusal.value.message == "the text must be YAML before it can be edited here"


def test_a_free_name_is_numbered() -> None:
    assert free_name("dns", []) == "dns"
    assert free_name("dns", ["dns", "dns-2"]) == "dns-3"
    assert free_name("user-os", []) == "user-os-2"

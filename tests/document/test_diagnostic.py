from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.document.codes import CODES, Code, table
from vafw.document.diagnostic import Diagnostic, DocumentInvalid, Label, did_you_mean, nearest
from vafw.document.rendering import Role, lines, render
from vafw.document.source import Source

TOPOLOGY = Source.of_text("path: [nic, firewall, user-os]\nlinks:\n  - {name: lan, net: uplink}\n", Path("t.yaml"))
MACHINE = Source.of_text("devices: {nic: {group: 1}}\n", Path("m.yaml"))


def uplink() -> Diagnostic:
    start = TOPOLOGY.text.index("uplink")
    return Diagnostic(
        "VAFW-T031",
        "traffic from 'user-os' must pass 'firewall', and reaches the NIC without",
        TOPOLOGY.span(start, start + 6),
        "'uplink' is the NIC's own network",
        related=(
            Label(TOPOLOGY.span(6, 30), "required order declared here"),
            Label(MACHINE.span(10, 13), "the NIC"),
        ),
        notes=("counter-example: user-os:10.0.0.2 -> 0.0.0.0/0 tcp/443 via uplink",),
        hint="did you mean 'inner'?",
    )


def test_a_diagnostic_with_three_places_is_rendered_with_three_lines_of_source() -> None:
    assert (
        render([uplink()])
        == """\
error[VAFW-T031]: traffic from 'user-os' must pass 'firewall', and reaches the NIC without
 --> t.yaml:3:22
  |
3 |   - {name: lan, net: uplink}
  |                      ^^^^^^ 'uplink' is the NIC's own network
1 | path: [nic, firewall, user-os]
  |       ------------------------ required order declared here
 ::> m.yaml:1:11
  |
1 | devices: {nic: {group: 1}}
  |           --- the NIC
  = counter-example: user-os:10.0.0.2 -> 0.0.0.0/0 tcp/443 via uplink
  = hint: did you mean 'inner'?   (vafw explain VAFW-T031)"""
    )


def test_json_carries_place_message_hint_and_related_places() -> None:
    assert uplink().to_json() == {
        "code": "VAFW-T031",
        "severity": "error",
        "file": "t.yaml",
        "line": 3,
        "col": 22,
        "endLine": 3,
        "endCol": 28,
        "message": "traffic from 'user-os' must pass 'firewall', and reaches the NIC without",
        "label": "'uplink' is the NIC's own network",
        "related": [
            {
                "file": "t.yaml",
                "line": 1,
                "col": 7,
                "endLine": 1,
                "endCol": 31,
                "message": "required order declared here",
            },
            {"file": "m.yaml", "line": 1, "col": 11, "endLine": 1, "endCol": 14, "message": "the NIC"},
        ],
        "notes": ["counter-example: user-os:10.0.0.2 -> 0.0.0.0/0 tcp/443 via uplink"],
        "hint": "did you mean 'inner'?",
    }


def test_pieces_carry_roles_for_faces_with_colours() -> None:
    roles = {piece.role for line in lines(uplink()) for piece in line}
    assert roles == set(Role)


def test_what_could_deceive_is_shown_as_an_escape() -> None:
    source = Source.of_text("a: \u202eb\x1b[2J", Path("\u202eevil.yaml"))
    text = render([Diagnostic("VAFW-Y002", "no \x1b[2J", source.span(3, 4))])
    assert text.isascii()
    assert "\x1b" not in text


def test_a_caret_stands_under_a_wide_character() -> None:
    source = Source.of_text("中中: x", Path("t.yaml"))
    *_, shown, caret, _ = render([Diagnostic("VAFW-D005", "x", source.span(1, 2))]).splitlines()
    assert (shown, caret) == ("1 | 中中: x", "  |   ^^")


def test_a_long_line_is_cut_around_the_caret() -> None:
    source = Source.of_text("a" * 5000 + "b" + "c" * 5000)
    *_, shown, caret, _ = render([Diagnostic("VAFW-D005", "x", source.span(5000, 5001))]).splitlines()
    assert len(shown) < 140
    assert shown[caret.index("^")] == "b"


@given(st.text(max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_any_span_of_any_text_can_be_rendered(text: str, one: int, other: int) -> None:
    source = Source.of_text(text)
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    shown = render([Diagnostic("VAFW-D005", text, source.span(start, end), text)])
    assert shown.startswith("error[VAFW-D005]: ")


def test_all_diagnostics_are_carried_in_the_order_of_files_and_positions() -> None:
    late = Diagnostic("VAFW-D001", "late", TOPOLOGY.span(9, 10))
    early = Diagnostic("VAFW-D001", "early", TOPOLOGY.span(0, 1), hint="do")
    other = Diagnostic("VAFW-D001", "other", MACHINE.span(0, 1), hint="first")
    error = DocumentInvalid([late, early, other, late])
    assert [each.message for each in error.diagnostics] == ["other", "early", "late"]
    assert str(error) == "m.yaml:1:1: other (and 2 more)"
    assert error.hint == "first"


def test_the_nearest_name_is_found_over_case_and_hyphens() -> None:
    assert nearest("User_OS", ["dns", "user-os"]) == "user-os"
    assert nearest("fierwall", ["dns", "firewall"]) == "firewall"
    assert nearest("xyz", ["dns", "firewall"]) is None


def test_where_no_name_is_near_all_are_listed() -> None:
    assert did_you_mean("xyz", ["dns", "firewall"]) == "there is dns, firewall"
    assert did_you_mean("xyz", []) is None


def test_every_code_has_cause_and_remedy() -> None:
    assert all(each.title and each.cause and each.remedy for each in CODES.values())


def test_a_code_given_twice_is_refused() -> None:
    code = Code("VAFW-D001", "t", "c", "r")
    with pytest.raises(ValueError, match=r"^a code must be given once, and VAFW-D001 is given twice$"):
        table([code, code])

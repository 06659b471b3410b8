"""Pictures of two plans against golden files.

Run this file as a program to write them anew; then look at them: ``rsvg-convert tapped.svg -o tapped.png``.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vafw.document.load import load_topology
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.graph import GraphFormat, render
from vafw.plan.graph.ascii import ascii_graph
from vafw.plan.plan import Plan
from vafw.plan.quantity import size

GOLDEN = Path(__file__).parent / "golden"
DESK = Path(__file__).parent / "desk"
TOPOLOGIES = {"desk": DESK / "topology.yaml", "tapped": DESK / "tapped.yaml"}


def plan(name: str) -> Plan:
    return compile_plan(load_topology(TOPOLOGIES[name], environment={}), ~Capability(0))


@pytest.mark.parametrize(("name", "form"), tuple(product(TOPOLOGIES, GraphFormat)))
def test_a_plan_is_drawn_the_same_to_the_byte(name: str, form: GraphFormat) -> None:
    assert render(plan(name), form) == (GOLDEN / f"{name}.{form}").read_text()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_terminal_without_box_characters_gets_plain_ascii(name: str) -> None:
    assert ascii_graph(plan(name), unicode=False) == (GOLDEN / f"{name}.plain").read_text()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_picture_names_every_vm_device_and_link(name: str) -> None:
    drawn = plan(name)
    names = {vm.name for vm in drawn.vms} | {each.name for vm in drawn.vms for each in vm.functions}
    names |= {link.name for link in drawn.links} | {"wire"}
    for form in GraphFormat:
        assert {each for each in names if each not in render(drawn, form)} == set()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_nothing_in_the_svg_lies_outside_of_it(name: str) -> None:
    root = ElementTree.fromstring(render(plan(name), GraphFormat.SVG))
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (int(box.attrib[key]) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_boxes_of_the_svg_do_not_overlap(name: str) -> None:
    root = ElementTree.fromstring(render(plan(name), GraphFormat.SVG))
    boxes = [
        tuple(int(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
    ]
    for (x, y, w, h), (p, q, r, s) in ((one, other) for one, other in product(boxes, boxes) if one != other):
        assert x + w <= p or p + r <= x or y + h <= q or q + s <= y


def test_the_drawing_for_terminals_fits_eighty_columns() -> None:
    assert max(map(len, ascii_graph(plan("tapped")).splitlines())) <= 80


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (1, "1 bytes"), (1 << 20, "1 MiB"), (3 << 29, "1536 MiB"), (2 << 40, "2 TiB")]
)
def test_a_size_is_written_as_documents_write_it(number: int, text: str) -> None:
    assert size(number) == text


if __name__ == "__main__":
    for each in TOPOLOGIES:
        for form in GraphFormat:
            (GOLDEN / f"{each}.{form}").write_text(render(plan(each), form))
        (GOLDEN / f"{each}.plain").write_text(ascii_graph(plan(each), unicode=False))

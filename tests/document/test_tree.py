from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vafw.document import tree as tree_module
from vafw.document.source import Source
from vafw.document.tree import MappingNode, ScalarNode, SequenceNode, Tree, descend, parse, plain


def parsed(text: str) -> Tree:
    tree, problems = parse(Source.of_text(text))
    assert problems == []
    assert tree is not None
    return tree


def complaint(text: str) -> str:
    _, problems = parse(Source.of_text(text))
    return "\n".join(f"{each.span.line}:{each.span.column} {each.code} {each.message}" for each in problems)


def scalars(node: Tree) -> list[ScalarNode]:
    if isinstance(node, ScalarNode):
        return [node]
    below = node.items if isinstance(node, SequenceNode) else list(node.values.values())
    return [each for part in below for each in scalars(part)]


def test_values_are_those_of_yaml_1_2() -> None:
    assert plain(parsed("a: NO\nb: [1, 0o17, 'x']\nc: {d: ~, e: true}\n")) == {
        "a": "NO",
        "b": (1, 15, "x"),
        "c": {"d": None, "e": True},
    }


WORD = st.text(
    alphabet="abcdefgh\N{LATIN SMALL LETTER E WITH ACUTE}\N{CJK UNIFIED IDEOGRAPH-4E2D}", min_size=1, max_size=8
)


@given(st.dictionaries(WORD, WORD | st.lists(WORD, max_size=4) | st.dictionaries(WORD, WORD, max_size=3), max_size=6))
@pytest.mark.parametrize("flow", [True, False])
def test_the_text_of_a_span_is_the_text_of_the_scalar(flow: bool, data: dict[str, object]) -> None:
    tree = parsed(yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow, width=40))
    assert all(each.span.text == each.value for each in scalars(tree))
    assert isinstance(tree, MappingNode)
    assert {span.text for span in tree.keys.values()} == set(data)


def test_a_collection_spans_from_its_beginning_to_its_last_value() -> None:
    tree = parsed("a:\n  - {b: 1}\n  - c: xyz\n\nd: 2\n")
    (_, rules) = descend(tree, ("a",))
    assert rules.span.text == "- {b: 1}\n  - c: xyz"


def test_a_path_is_followed_as_far_as_it_exists() -> None:
    tree = parsed("a: [{b: 1}]")
    assert [node.span.text for node in descend(tree, ("a", 0, "b", "c"))] == ["a: [{b: 1}]", "[{b: 1}]", "{b: 1}", "1"]


def test_an_alias_stands_for_its_anchor() -> None:
    assert plain(parsed("a: &x [1, 2]\nb: *x\n")) == {"a": (1, 2), "b": (1, 2)}


def test_every_repetition_of_a_key_is_refused() -> None:
    assert complaint("a: 1\nb: {c: 1, c: 2}\na: 3\n") == (
        "2:11 VAFW-Y004 the key 'c' must stand only once in a mapping\n"
        "3:1 VAFW-Y004 the key 'a' must stand only once in a mapping"
    )


def test_nine_to_the_ninth_values_are_refused_fast() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    began = time.process_time()
    assert complaint("\n".join(lines)).endswith(
        "VAFW-Y008 a document must have at most 250000 values, each alias counted as all that it stands for"
    )
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", ["[" * 500_000, "- " * 100_000, "{a: " * 50_000])
def test_depth_is_refused_without_recursion(text: str) -> None:
    assert "VAFW-Y008 mappings and lists must nest at most 64 deep" in complaint(text)


def test_depth_is_counted_through_aliases() -> None:
    deep = "[" * 40 + "]" * 40
    assert complaint(f"a: &x {deep}\nb: {'[' * 30}*x{']' * 30}") == (
        "2:34 VAFW-Y008 mappings and lists must nest at most 64 deep"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *x", "1:4 VAFW-Y001 the alias *x must name an anchor that stands before it"),
        ("&x a: &y [*y]", "1:11 VAFW-Y009 the alias *y must not stand inside what it stands for"),
        ("? [a]\n: b", "1:3 VAFW-Y005 a key must be text, not a list or a mapping"),
        ("&a x: 1\n*a : 2", "2:1 VAFW-Y005 a key must be text, not an alias"),
        ("true: 1", "1:1 VAFW-Y005 a key must be text, not true"),
        ("? \n: 1", "1:2 VAFW-Y005 a key must be text, not nothing"),
        ("a: !x 1", "1:4 VAFW-Y007 the tag !x is not known; documents here need no tags"),
        ("a: !!set {}", "1:4 VAFW-Y007 the tag !!set is not known; documents here need no tags"),
        ("a: 1\n---\nb: 1", "2:1 VAFW-Y006 a file must hold one document, and a second one begins here"),
        ("<<: {a: 1}", "1:1 VAFW-Y011 merge keys (<<) are no part of YAML 1.2 and are refused"),
    ],
)
def test_what_documents_need_not_is_refused(text: str, message: str) -> None:
    assert complaint(text) == message


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_gives_a_tree_or_complaints(text: str) -> None:
    tree, problems = parse(Source.of_text(text))
    assert problems or tree is None or plain(tree) is not parse


@given(st.text(alphabet="ab:- \n[]{}*&!'\"|>#%?,1~<", max_size=60))
def test_any_punctuation_gives_a_tree_or_complaints(text: str) -> None:
    _, problems = parse(Source.of_text(text))
    assert all(1 <= each.span.line <= len(each.span.source.lines) for each in problems)


@given(st.text(alphabet="ab:- \n[]{}*&!'\"|>#?,1~<", max_size=40))
def test_the_parser_without_libyaml_gives_the_same_values_where_both_parse(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_module, "Loader", yaml.SafeLoader)
        slow, slow_problems = parse(Source.of_text(text))
    fast, fast_problems = parse(Source.of_text(text))
    both = not slow_problems and not fast_problems and slow is not None and fast is not None
    assert not both or plain_again(slow) == plain_again(fast)


def plain_again(tree: Tree | None) -> str:
    return "" if tree is None else repr(plain(tree))

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.document.source import SIZE_LIMIT, Source, Span, Unreadable, read_beneath, read_source


def unreadable(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read_source(path)
    return f"{caught.value.code}: {caught.value}"


def unreadable_beneath(folder: Path, name: str) -> str:
    with pytest.raises(Unreadable) as caught:
        read_beneath(folder, name)
    return f"{caught.value.code}: {caught.value}"


def test_a_span_knows_line_column_and_text() -> None:
    source = Source.of_text("a: 1\r\nbc: xyz\n", Path("t.yaml"))
    span = source.span(10, 13)
    assert (str(span), span.end_line, span.end_column, span.text) == ("t.yaml:2:5", 2, 8, "xyz")


@given(st.text(alphabet="ab\r\n\N{GRINNING FACE}", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_a_span_of_offsets_has_the_text_between_them(text: str, one: int, other: int) -> None:
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    source = Source.of_text(text.replace("\r", ""))
    start, end = min(start, len(source.text)), min(end, len(source.text))
    assert source.span(start, end).text == source.text[start:end]


def test_the_digest_is_of_the_bytes_as_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"abc")
    assert read_source(path).sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert unreadable(tmp_path / "no.yaml") == "VAFW-F001: there is no such file"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert unreadable(tmp_path) == "VAFW-F004: it must be a regular file, not a folder, a pipe or a device"


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert unreadable(tmp_path / "pipe") == "VAFW-F004: it must be a regular file, not a folder, a pipe or a device"


def test_an_endless_device_is_refused() -> None:
    assert unreadable(Path("/dev/zero")) == "VAFW-F004: it must be a regular file, not a folder, a pipe or a device"


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"a" * SIZE_LIMIT)
    assert len(read_source(tmp_path / "big").text) == SIZE_LIMIT


def test_a_file_one_byte_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"a" * (SIZE_LIMIT + 1))
    assert unreadable(tmp_path / "big") == "VAFW-F004: it must have at most 1048576 bytes, and it has more"


def test_a_sparse_file_of_ten_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.touch()
    os.truncate(path, 10 << 30)
    assert unreadable(path) == "VAFW-F004: it must have at most 1048576 bytes, and it has more"


def test_bytes_that_are_not_utf_8_are_refused_at_their_place(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xc3\xa9\xfc\n")
    with pytest.raises(Unreadable) as caught:
        read_source(tmp_path / "latin")
    assert str(caught.value) == "it must be UTF-8, and byte 10 is 0xfc"
    assert caught.value.span is not None
    assert (caught.value.span.line, caught.value.span.column) == (2, 5)


@pytest.mark.parametrize("name", ["../a", "b/../../a", "..", "sub/../../topology/../a"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "topology"
    (folder / "b").mkdir(parents=True)
    (folder / "sub").mkdir()
    (tmp_path / "a").write_text("secret")
    expected = "VAFW-F002: it must be a file below the topology's folder, and it lies outside"
    assert unreadable_beneath(folder, name) == expected


def test_an_absolute_name_is_refused_even_where_it_lies_inside(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    expected = "VAFW-F002: it must be named relative to the topology, not by an absolute path"
    assert unreadable_beneath(tmp_path, str(tmp_path / "a")) == expected


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.txt").write_text("x")
    (tmp_path / "b.txt").symlink_to("lists/a.txt")
    assert read_beneath(tmp_path, "b.txt").text == "x"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert unreadable_beneath(tmp_path, "a") == "VAFW-F002: its symbolic links lead in a circle"


@given(st.text(max_size=20))
def test_any_name_is_read_or_refused(name: str) -> None:
    with pytest.raises(Unreadable):
        read_beneath(Path("/proc/self/fdinfo"), f"none-{name}")


def test_spans_are_equal_by_their_place_in_one_source() -> None:
    source = Source.of_text("ab")
    assert source.span(0, 1) == Span(source, 1, 1, 1, 2)

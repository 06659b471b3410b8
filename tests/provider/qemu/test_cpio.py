"""Archives that cpio itself reads, and that depend on nothing but their content."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.provider.qemu.cpio import Entry, archive, read_tree

names = st.lists(st.text("abcxyz.-", min_size=1, max_size=8), min_size=1, max_size=4).map("/f".join)


def test_cpio_unpacks_files_links_and_the_folders_above_them(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    data = archive(
        {
            "usr/bin/tool": Entry.file(b"#!/bin/sh\n", executable=True),
            "bin": Entry.link("usr/bin"),
            "etc/empty": Entry.file(b""),
            "run": Entry.folder(),
        }
    )
    subprocess.run(["cpio", "-i", "--quiet", "--no-absolute-filenames"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "bin" / "tool").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "etc/empty").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "run").is_dir()


@given(st.dictionaries(names, st.binary(max_size=64), min_size=1, max_size=6))
def test_the_order_in_which_entries_are_given_changes_nothing(files: dict[str, bytes]) -> None:
    entries = {name: Entry.file(data) for name, data in files.items()}
    assert archive(entries) == archive(dict(reversed(entries.items())))
    assert len(archive(entries)) % 512 == 0


def test_a_tree_is_read_with_its_links_and_execute_bits_and_without_its_times(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tool").write_bytes(b"x")
    (tmp_path / "a" / "tool").chmod(0o755)
    (tmp_path / "a" / "link").symlink_to("tool")
    assert read_tree(tmp_path, [tmp_path / "a"]) == {
        "a/link": Entry.link("tool"),
        "a/tool": Entry.file(b"x", executable=True),
    }

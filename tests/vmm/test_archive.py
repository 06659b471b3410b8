from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.vmm.archive import ArchiveError, pack, unpack

NAMES = st.from_regex(r"[a-zé_]{1,9}(/[a-z_]{1,9}){0,2}(\.py)?", fullmatch=True)
FILES = st.dictionaries(NAMES, st.binary(max_size=60), max_size=6)
SMALL = pack({"a.py": b"one", "b/c.py": b"two"})


def files_or_none(data: bytes) -> dict[str, bytes] | None:
    try:
        return unpack(data)
    except ArchiveError:
        return None


@given(FILES)
def test_files_survive_an_archive(files: dict[str, bytes]) -> None:
    assert unpack(pack(files)) == files


@given(FILES)
def test_the_order_in_which_files_are_given_does_not_matter(files: dict[str, bytes]) -> None:
    assert pack(dict(reversed(files.items()))) == pack(files)


@given(st.integers(0, len(SMALL) * 8 - 1))
def test_a_flipped_bit_is_refused_or_shows_in_the_files(bit: int) -> None:
    changed = bytearray(SMALL)
    changed[bit // 8] ^= 1 << bit % 8
    assert files_or_none(bytes(changed)) != unpack(SMALL)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        unpack(data)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../b", "TRAILER!!!"])
def test_a_name_that_leaves_the_archive_is_refused(name: str) -> None:
    with pytest.raises(ArchiveError, match=f"^a file in an archive must have a relative name, not {name!r}$"):
        pack({name: b""})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an archive's entry must begin with 070701 at byte 0"),
        (SMALL[:110].replace(b"070701", b"070702"), "an archive's entry must begin with 070701 at byte 0"),
        (SMALL[:54] + b"-0000001" + SMALL[62:], "an archive's entry must have a readable head at byte 0"),
        (SMALL[:54] + b"0FFFFFFF" + SMALL[62:], "an archive's entry must end within it, not 'a.py' at byte 0"),
        (
            SMALL + b"\0",
            "an archive must be written with sorted names, no owners, no times and nothing after its end",
        ),
    ],
)
def test_an_archive_that_pack_has_not_written_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=f"^{re.escape(message)}$"):
        unpack(data)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_lists_the_files() -> None:
    done = subprocess.run(["cpio", "-t", "--quiet"], input=SMALL, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["a.py", "b/c.py"]

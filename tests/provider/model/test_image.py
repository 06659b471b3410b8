from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from vafw.provider.model.image import Image, ImageError, load, program

APPLIANCES = Path(__file__).parents[3] / "appliances" / "vafw_appliances"
MANIFEST = "vafw: 1\nkind: appliance\n"

WriteFolder = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFolder:
    def make(files: Mapping[str, str]) -> Path:
        folder = tmp_path / "filter"
        folder.mkdir(exist_ok=True)
        for name, text in {"appliance.yaml": MANIFEST, **files}.items():
            (folder / name).write_text(text)
        return folder

    return make


def test_an_image_holds_the_manifest_and_every_program_but_no_package_file(write: WriteFolder) -> None:
    image = load(write({"guest.py": "x = 1", "rules.py": "y = 2", "__init__.py": "", "notes.txt": "no"}))
    assert image.name == "filter"
    assert image.files() == {"appliance.yaml": MANIFEST.encode(), "guest.py": b"x = 1", "rules.py": b"y = 2"}


def test_the_digest_changes_with_any_file_and_with_nothing_else(write: WriteFolder) -> None:
    folder = write({"guest.py": "x = 1"})
    before = load(folder).digest
    (folder / "__pycache__").mkdir()
    (folder / "guest.py").touch()
    assert load(folder, "renamed").digest == before
    write({"appliance.yaml": MANIFEST + "\n"})
    assert load(folder).digest != before


def test_what_runs_is_what_was_measured_even_if_the_folder_changes_in_between(write: WriteFolder) -> None:
    folder = write({"guest.py": "from .rules import y\ndef late():\n    from . import rules\n    return rules.y"})
    write({"rules.py": "y = 'measured'"})
    image = load(folder)
    write({"rules.py": "y = 'changed'", "guest.py": "raise SystemExit"})
    module = program(image)
    assert (module.y, module.late()) == ("measured", "measured")


def test_neighbours_can_be_imported_under_the_appliances_package(write: WriteFolder) -> None:
    folder = write({"guest.py": "from vafw_appliances.filter.rules import y\nfrom vafw_appliances.filter import rules"})
    write({"rules.py": "y = 5"})
    module = program(load(folder))
    assert (module.y, module.rules.y) == (5, 5)


def test_each_execution_has_modules_of_its_own(write: WriteFolder) -> None:
    image = load(write({"guest.py": "from . import rules", "rules.py": "seen = []"}))
    one, other = program(image), program(image)
    one.rules.seen.append(1)
    assert other.rules.seen == []


def test_dataclasses_and_the_standard_library_work_inside(write: WriteFolder) -> None:
    text = (
        "from __future__ import annotations\nimport os.path\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True, slots=True)\nclass Counter:\n    name: str\n    value: int = 0\n"
    )
    assert program(load(write({"guest.py": text}))).Counter("x").value == 0


def test_a_traceback_shows_the_measured_line(write: WriteFolder) -> None:
    module = program(load(write({"guest.py": "def create(config):\n    return 1 / 0  # here\n"})))
    with pytest.raises(ZeroDivisionError) as raised:
        module.create({})
    shown = "".join(traceback.format_exception(raised.value))
    assert 'File "<image filter>/guest.py", line 2, in create' in shown
    assert "return 1 / 0  # here" in shown


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from vafw_appliances.firewall import guest", "vafw_appliances.firewall"),
        ("import vafw_appliances.filter.rules", "vafw_appliances.filter.rules"),
        ("from vafw_appliances import firewall", "vafw_appliances"),
        ("from .. import firewall", ""),
    ],
)
def test_a_program_that_reaches_for_another_appliance_is_refused(write: WriteFolder, statement: str, name: str) -> None:
    message = f"a program must import from its own image, by `from . import name`, not {name!r}"
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        program(load(write({"guest.py": statement, "rules.py": ""})))


def test_a_neighbour_that_the_image_does_not_hold_is_refused(write: WriteFolder) -> None:
    message = r"^image filter must hold rules\.py, not only appliance\.yaml, guest\.py$"
    with pytest.raises(ImportError, match=message):
        program(load(write({"guest.py": "from . import rules"})))


def test_a_missing_program_is_refused(write: WriteFolder) -> None:
    message = r"^image filter must hold guest\.py, not only appliance\.yaml, other\.py$"
    with pytest.raises(ImageError, match=message):
        program(load(write({"other.py": ""})))


def test_a_program_that_is_no_python_is_refused(write: WriteFolder) -> None:
    message = r"^the program <image filter>/guest\.py must be valid Python: "
    with pytest.raises(ImageError, match=message):
        program(load(write({"guest.py": "def"})))


def test_a_folder_without_a_program_is_refused(write: WriteFolder) -> None:
    folder = write({})
    with pytest.raises(ImageError, match=f"^an image's folder must hold a program, not none: {folder}$"):
        load(folder)


def test_a_folder_without_a_manifest_is_refused(write: WriteFolder) -> None:
    folder = write({"guest.py": ""})
    (folder / "appliance.yaml").unlink()
    path = folder / "appliance.yaml"
    message = f"an image's file must be readable and no symbolic link: {path} (No such file or directory)"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        load(folder)


def test_a_symbolic_link_is_refused(write: WriteFolder, tmp_path: Path) -> None:
    folder = write({"guest.py": ""})
    (tmp_path / "elsewhere.py").write_text("")
    (folder / "rules.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(ImageError, match=r"^an image's file must be readable and no symbolic link: .*rules\.py "):
        load(folder)


@pytest.mark.parametrize("name", ["firewall", "dns_filter", "desktop"])
def test_the_shipped_appliances_run_from_their_images_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = load(APPLIANCES / name)
    for module in [each for each in sys.modules if each.startswith(f"vafw_appliances.{name}")]:
        monkeypatch.delitem(sys.modules, module)
    assert callable(program(image).create)
    assert not [each for each in sys.modules if each.startswith(f"vafw_appliances.{name}")]


def test_an_image_of_bytes_that_no_archive_are_is_refused() -> None:
    with pytest.raises(Exception, match=r"^an archive's entry must begin with 070701 at byte 0$"):
        program(Image("filter", b"nonsense"))

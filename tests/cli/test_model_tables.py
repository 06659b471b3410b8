"""`vafw model translate`, `tables` and `irte` over pages dumped from a machine: here, what the VMM's driver wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, Vafw
from vafw.acpi.dmar import Dmar, encode_dmar
from vafw.address import Bdf, Hpa, Iova
from vafw.errors import ExitCode
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd import RemappingUnit
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping import RemappingDriver

UNIT = Hpa(0xFED9_0000)
NIC, DISPLAY = Bdf(2, 0, 0), Bdf(0, 2, 0)
FIRST, SIZE = 0x10_0000, 64 << 12
"""Where the driver's frames are, all of which are dumped."""


@dataclass(frozen=True)
class Dumped:
    """A dump, and the options that describe its machine."""

    memory: PhysicalMemory
    file: Path
    rtaddr: int
    irta: int
    cap: int
    ecap: int

    @property
    def unit(self) -> list[str]:
        return [f"--rtaddr={self.rtaddr:#x}", f"--cap={self.cap:#x}", f"--ecap={self.ecap:#x}"]

    @property
    def whole(self) -> list[str]:
        return [f"--memory={self.file}@{FIRST:#x}", *self.unit]

    def without_page(self, page: int) -> list[str]:
        """The dump in two files, between which a page is missing."""
        low, high = self.file.with_name("low.bin"), self.file.with_name("high.bin")
        data = self.file.read_bytes()
        low.write_bytes(data[: page - FIRST])
        high.write_bytes(data[page - FIRST + 4096 :])
        return [f"--memory={low}@{FIRST:#x}", f"--memory={high}@{page + 4096:#x}", *self.unit]


@pytest.fixture
def dumped(tmp_path: Path) -> Dumped:
    memory = PhysicalMemory(1 << 30)
    memory.map_window(UNIT, 4096, RemappingUnit(memory))
    driver = RemappingDriver(memory, FrameAllocator(Hpa(FIRST), SIZE), UNIT)
    driver.enable()
    domain = driver.create_domain()
    driver.map(domain, Iova(0), Hpa(0x1000_0000), 2 << 20)
    driver.map(domain, Iova(2 << 20), Hpa(0x3000_0000), 3 * 4096, write=False)
    driver.attach(NIC, domain)
    driver.map_interrupt(NIC, 0x41, 2)
    file = tmp_path / "dump.bin"
    file.write_bytes(memory.read(Hpa(FIRST), SIZE))
    registers = [memory.read_u64(Hpa(UNIT + offset)) for offset in (0x20, 0xB8, 0x08, 0x10)]
    return Dumped(memory, file, *registers)


def translate(vafw: Vafw, options: list[str], iova: int, *more: str) -> tuple[int, str, str]:
    done = vafw("model", "translate", *options, "--rid=02:00.0", f"--iova={iova:#x}", *more)
    return done.code, done.out, done.err


def test_a_mapped_address_is_translated_and_every_entry_on_the_way_is_shown(vafw: Vafw, dumped: Dumped) -> None:
    code, out, _ = translate(vafw, dumped.whole, 0x12_3456)
    lines = out.splitlines()
    assert code == ExitCode.DONE
    assert [line.split("  ")[1].strip() for line in lines[:-1]] == [
        "root entry",
        "context entry",
        "level-4 entry",
        "level-3 entry",
        "level-2 entry",
    ]
    assert lines[-1] == "read by 02:00.0 at 0x123456: translated to 0x10123456, 2 MiB page, rw, domain 1"


def test_a_write_to_a_page_for_reading_is_blocked_with_the_manuals_reason(vafw: Vafw, dumped: Dumped) -> None:
    code, out, _ = translate(vafw, dumped.whole, 0x20_0000, "--access=write")
    assert code == ExitCode.DONE
    assert out.splitlines()[-1] == (
        "write by 02:00.0 at 0x200000: blocked, reason 0x5: "
        "a second-level paging entry on the way does not grant write (W)"
    )


def test_json_carries_the_answer_and_the_steps(vafw: Vafw, dumped: Dumped) -> None:
    _, out, _ = translate(vafw, dumped.whole, 0x20_1008, "--json")
    data = json.loads(out)["data"]
    assert {key: data[key] for key in ("outcome", "address", "page-size", "rights", "domain")} == {
        "outcome": "translated",
        "address": "0x30001008",
        "page-size": 4096,
        "rights": "r-",
        "domain": 1,
    }
    assert [step["structure"] for step in data["steps"]][-2:] == ["level-2 entry", "level-1 entry"]


def test_a_blocked_request_in_json_says_whether_a_record_is_made(vafw: Vafw, dumped: Dumped) -> None:
    _, out, _ = translate(vafw, dumped.whole, 1 << 48, "--json")
    data = json.loads(out)["data"]
    assert (data["outcome"], data["reason"], data["recorded"]) == ("blocked", 4, True)


def test_another_requester_has_no_root_entry(vafw: Vafw, dumped: Dumped) -> None:
    done = vafw("model", "translate", *dumped.whole, "--rid=05:00.0", "--iova=0")
    assert done.out.splitlines()[-1] == (
        "read by 05:00.0 at 0x0: blocked, reason 0x1: the present (P) field of the root entry is clear"
    )


def test_a_hole_on_the_way_names_the_table_and_what_to_dump_refused(vafw: Vafw, dumped: Dumped) -> None:
    context_table = dumped.memory.read_u64(Hpa(dumped.rtaddr + NIC.bus * 16)) & ~0xFFF
    code, out, err = translate(vafw, dumped.without_page(context_table), 0x1000)
    assert (code, out) == (ExitCode.FAILED, "")
    assert err == (
        f"error: the walk of 0x1000 needs the context entry at {context_table:#x}, "
        f"and the page at {context_table:#x} is not in the dump\n"
        f"hint: dump the page and add --memory FILE@{context_table:#x}\n"
    )


def test_pieces_that_overlap_and_pieces_that_are_no_pages_are_all_named_refused(vafw: Vafw, dumped: Dumped) -> None:
    odd = dumped.file.with_name("odd.bin")
    odd.write_bytes(bytes(5000))
    empty = dumped.file.with_name("empty.bin")
    empty.touch()
    again = [f"--memory={odd}@{FIRST + SIZE - 4096:#x}", f"--memory={empty}@0x800"]
    code, _, err = translate(vafw, [*dumped.whole, *again], 0)
    assert code == ExitCode.INVALID_DOCUMENT
    assert err == (
        f"error: {empty}: must hold at least one page, but is empty\n"
        f"{empty}: must begin at a multiple of 0x1000, not at 0x800\n"
        f"{odd}: must hold whole pages of 4096 bytes, not 5000 (904 more than whole)\n"
        f"{odd}: must not overlap {dumped.file}, but both hold 0x13f000 to 0x13ffff\n"
    )


def test_a_register_of_scalable_mode_is_refused(vafw: Vafw, dumped: Dumped) -> None:
    options = [*dumped.whole, f"--rtaddr={dumped.rtaddr | 1 << 10:#x}"]
    code, _, err = translate(vafw, options, 0)
    assert code == ExitCode.PLATFORM
    assert err.startswith("error: RTADDR must say legacy mode (TTM = 0), but 0x100400 says mode 1\nhint: ")


def test_a_cap_without_any_table_depth_is_refused(vafw: Vafw, dumped: Dumped) -> None:
    code, _, err = translate(vafw, [*dumped.whole, "--cap=0x0"], 0)
    assert code == ExitCode.PLATFORM
    assert err.startswith("error: CAP must say in SAGAW (bits 12:8) which tables the unit takes, but 0x0 names none\n")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--memory=dump.bin", "must look like FILE@ADDRESS, for instance dump.bin@0x1000000, not 'dump.bin'"),
        ("--memory=dump.bin@here", "must be a number such as 0x1000, not 'here'"),
        ("--iova=0x10000000000000000", "must fit 64 bits, not '0x10000000000000000'"),
        ("--rid=2", "PCI address must look like 02:00.0, not '2'"),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(vafw: Vafw, dumped: Dumped, option: str, message: str) -> None:
    code, _, err = translate(vafw, dumped.whole, 0, option)
    assert code == ExitCode.USAGE
    assert message in err


def test_a_file_that_is_not_there_is_refused(vafw: Vafw, dumped: Dumped) -> None:
    code, _, err = translate(vafw, [*dumped.unit, "--memory=/nowhere/dump.bin@0"], 0)
    assert (code, err) == (ExitCode.FAILED, "error: /nowhere/dump.bin: no such file or directory\n")


def test_the_dmar_table_says_how_wide_host_addresses_are(vafw: Vafw, dumped: Dumped) -> None:
    file = dumped.file.with_name("dmar.bin")
    file.write_bytes(encode_dmar(Dmar(28, ())))
    assert translate(vafw, [*dumped.whole, f"--dmar={file}"], 0x1000)[1].endswith(
        "blocked, reason 0xc: a reserved field of a second-level paging entry is not zero\n"
    )
    file.write_bytes(encode_dmar(Dmar(39, ())))
    assert "translated to 0x10001000" in translate(vafw, [*dumped.whole, f"--dmar={file}"], 0x1000)[1]


def test_a_file_that_is_no_dmar_table_and_a_width_given_twice_are_refused(vafw: Vafw, dumped: Dumped) -> None:
    code, _, err = translate(vafw, [*dumped.whole, f"--dmar={dumped.file}"], 0)
    assert code == ExitCode.INVALID_DOCUMENT
    assert err.startswith(f"error: {dumped.file}: must be an ACPI DMAR table: ")
    code, _, err = translate(vafw, [*dumped.whole, f"--dmar={dumped.file}", "--haw=39"], 0)
    assert code == ExitCode.USAGE
    assert "--haw must not be given with --dmar, which says the width itself" in err


def test_tables_prints_every_function_with_its_ranges(vafw: Vafw, dumped: Dumped) -> None:
    done = vafw("model", "tables", *dumped.whole)
    lines = done.out.splitlines()
    assert done.code == ExitCode.DONE
    assert lines[0].startswith("02:00.0  domain 1, translated, 4 levels at 0x")
    assert lines[1:] == [
        "  0x000000000000-0x0000001fffff  rw  0x000010000000  2 MiB in pages of 2 MiB",
        "  0x000000200000-0x000000202fff  r-  0x000030000000  12 KiB in pages of 4 KiB",
    ]


def test_tables_in_json_has_the_same_ranges(vafw: Vafw, dumped: Dumped) -> None:
    data = json.loads(vafw("model", "tables", *dumped.whole, "--json", "--rid=02:00.0").out)["data"]
    (function,) = data["functions"]
    assert [(each["iova"], each["host"], each["size"], each["rights"]) for each in function["ranges"]] == [
        ("0x0", "0x10000000", 2 << 20, "rw"),
        ("0x200000", "0x30000000", 3 * 4096, "r-"),
    ]
    assert data["problems"] == function["problems"] == []


def test_tables_says_in_place_what_is_missing(vafw: Vafw, dumped: Dumped) -> None:
    done = vafw("model", "tables", *dumped.whole)
    top = int(done.out.split("levels at ")[1].split()[0], 16)
    done = vafw("model", "tables", *dumped.without_page(top))
    assert done.code == ExitCode.DONE
    assert done.out.splitlines()[1] == f"  device address 0x0: the level-4 table at {top:#x} is not in the dump"


def test_irte_prints_who_raises_what_where(vafw: Vafw, dumped: Dumped) -> None:
    options = [f"--memory={dumped.file}@{FIRST:#x}", f"--irta={dumped.irta:#x}", *dumped.unit[1:]]
    done = vafw("model", "irte", *options)
    assert done.out == "    0  vector 0x41 to processor 0x2, fixed, edge, by 02:00.0\n"
    data = json.loads(vafw("model", "irte", *options, "--json").out)["data"]
    assert (data["entries"], data["irtes"][0]["outcome"]) == (256, "remapped")
    assert json.loads(vafw("model", "irte", *options, "--rid=00:02.0", "--json").out)["data"]["irtes"] == []


@pytest.mark.parametrize(
    ("message", "rid", "answer"),
    [
        ("0xfee00010:0", "02:00.0", "entry 0: vector 0x41 to processor 0x2, fixed, edge, by 02:00.0"),
        (
            "0xfee00010:0",
            "00:02.0",
            "blocked, reason 0x26: source-id verification failed: the IRTE is not this requester's",
        ),
        ("0xfee00030:0", "02:00.0", "blocked, reason 0x22: the present (P) field of the IRTE is clear"),
        ("0xfee00010:1", "02:00.0", "blocked, reason 0x20: a reserved field of the interrupt request is not zero"),
        (
            "0xfee02010:0",
            "02:00.0",
            "blocked, reason 0x21: the interrupt index is beyond the interrupt remapping table",
        ),
    ],
)
def test_irte_follows_one_message(vafw: Vafw, dumped: Dumped, message: str, rid: str, answer: str) -> None:
    options = [f"--memory={dumped.file}@{FIRST:#x}", f"--irta={dumped.irta:#x}", *dumped.unit[1:]]
    done = vafw("model", "irte", *options, f"--message={message}", f"--rid={rid}")
    assert (done.code, done.out) == (ExitCode.DONE, f"message by {rid}: {answer}\n")
    data = json.loads(vafw("model", "irte", *options, f"--message={message}", f"--rid={rid}", "--json").out)["data"]
    assert data["outcome"] == ("remapped" if answer.startswith("entry") else "blocked")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--message=0xfee00010:0"], "--message must come with --rid: whose message it is"),
        (["--message=0xfee00010", "--rid=02:00.0"], "must look like ADDRESS:DATA, for instance 0xfee00010:0"),
        (["--message=0xfee00000:0x41", "--rid=02:00.0"], "must be in remappable format (bit 4 of the address)"),
    ],
)
def test_a_message_that_says_too_little_is_refused(
    vafw: Vafw, dumped: Dumped, options: list[str], message: str
) -> None:
    fixed = [f"--memory={dumped.file}@{FIRST:#x}", f"--irta={dumped.irta:#x}", *dumped.unit[1:]]
    done = vafw("model", "irte", *fixed, *options)
    assert done.code == ExitCode.USAGE
    assert message in done.err


def test_an_interrupt_table_that_was_not_dumped_whole_is_refused(vafw: Vafw, dumped: Dumped) -> None:
    options = [f"--memory={dumped.file}@{FIRST:#x}", "--irta=0x500001", *dumped.unit[1:]]
    done = vafw("model", "irte", *options)
    assert done.code == ExitCode.FAILED
    assert done.err == (
        "error: the interrupt remapping table takes 0x40 bytes from 0x500000, "
        "and the page at 0x500000 is not in the dump\n"
        "hint: dump the page and add --memory FILE@0x500000\n"
    )


def test_the_commands_of_the_documentation_do_what_they_say(
    vafw: Vafw, dumped: Dumped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dumped.file.parent)
    page = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("vafw model ") and "@" in line]
    done = [vafw(*command) for command in commands]
    assert [each.code for each in done] == [0, 0, 0, 0], [each.err for each in done]
    assert done[0].out.splitlines()[-1].endswith("translated to 0x10001000, 2 MiB page, rw, domain 1")
    assert "2 MiB in pages of 2 MiB" in done[1].out
    assert "vector 0x41" in done[2].out
    assert done[3].out == "message by 02:00.0: entry 0: vector 0x41 to processor 0x2, fixed, edge, by 02:00.0\n"

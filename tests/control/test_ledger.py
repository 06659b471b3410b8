from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.control.parts import AGENT_KEY, BOTH, CONTROLLER_KEY, approved, statement
from vafw.clock import ManualClock
from vafw.control.approval import Charter, Kind
from vafw.control.entry import Approved, Entry
from vafw.control.envelope import Version
from vafw.control.ledger import Ledger, LedgerDamaged, StaleGeneration
from vafw.errors import NoSuchObject
from vafw.trace import Value

CLOCK = ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


@pytest_asyncio.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    async with Ledger.open(path, CLOCK) as opened:
        yield opened


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def damage(path: Path, offset: int) -> None:
    """Invert 60 bytes."""
    data = bytearray(path.read_bytes())
    data[offset : offset + 60] = bytes(byte ^ 0xFF for byte in data[offset : offset + 60])
    path.write_bytes(data)


def write_prose(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a ledger at all, but long enough to look like one" * 100)


async def commit(ledger: Ledger, port: int, seen: Version | None) -> Entry:
    body: dict[str, Value] = {"port": port}
    return await ledger.commit("firewall", body, seen=seen, basis={"text": "x"}, note=f"port {port}", author="root")


async def test_generations_count_up_and_the_last_is_desired(ledger: Ledger) -> None:
    first = await commit(ledger, 1, None)
    second = await commit(ledger, 2, first.version)
    assert (first.version, second.version) == (Version(1, 1), Version(1, 2))
    assert await ledger.desired("firewall") == second
    assert await ledger.history("firewall") == (second, first)


async def test_who_did_not_see_the_last_generation_is_refused(ledger: Ledger) -> None:
    await commit(ledger, 1, None)
    await commit(ledger, 2, Version(1, 1))
    with pytest.raises(StaleGeneration) as refusal:
        await commit(ledger, 3, Version(1, 1))
    message = "a change of firewall must build on what is committed, generation 1.2, not on 1.1"
    assert refusal.value.message == message
    assert (await ledger.desired("firewall")).body == {"port": 2}


async def test_a_commit_survives_the_ledger_being_closed(path: Path) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        entry = await commit(ledger, 1, None)
    async with Ledger.open(path, CLOCK) as ledger:
        assert await ledger.desired("firewall") == entry
        assert await ledger.unpublished() == (entry,)


async def test_an_entry_leaves_the_outbox_once_it_was_published(ledger: Ledger) -> None:
    first = await commit(ledger, 1, None)
    second = await commit(ledger, 2, first.version)
    await ledger.published(first)
    assert await ledger.unpublished() == (second,)
    await ledger.published(second)
    assert await ledger.unpublished() == ()


async def test_a_new_epoch_fences_everything_before_it(ledger: Ledger) -> None:
    await commit(ledger, 1, None)
    last = await commit(ledger, 2, Version(1, 1))
    await ledger.published(last)
    assert await ledger.begin_epoch() == 2
    desired = await ledger.desired("firewall")
    assert (desired.version, desired.body) == (Version(2, 2), {"port": 2})
    assert desired.version > Version(1, 99)
    assert await ledger.unpublished() == (desired,)
    assert (await commit(ledger, 3, desired.version)).version == Version(2, 3)


async def test_a_copy_can_be_put_back(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    entry = await commit(ledger, 1, None)
    await ledger.back_up(tmp_path / "copy")
    await commit(ledger, 2, entry.version)
    restored = tmp_path / "restored.sqlite"
    shutil.copy(tmp_path / "copy", restored)
    async with Ledger.open(restored, CLOCK) as again:
        assert await again.begin_epoch() == 2
        assert (await again.desired("firewall")).version == Version(2, 1)


async def test_reports_and_keys_are_kept(ledger: Ledger) -> None:
    await ledger.enrol("firewall", AGENT_KEY.public_key())
    await ledger.keep_report("firewall", {"outcome": "applied"})
    assert await ledger.key("firewall") == AGENT_KEY.public_key()
    assert await ledger.reported("firewall") == {"outcome": "applied"}
    assert await ledger.reported("dns") is None


async def test_an_unknown_appliance_and_an_unknown_key_are_refused(ledger: Ledger) -> None:
    with pytest.raises(NoSuchObject, match=r"^dns must have a committed configuration, and has none$"):
        await ledger.desired("dns")
    with pytest.raises(NoSuchObject, match=r"^dns must have an enrolled key, and has none$"):
        await ledger.key("dns")


BASE, FIREWALL = Version(1, 1), Charter("lab", "firewall", CONTROLLER_KEY.public_key(), BOTH)
CHANGE = statement(BASE, {"port": 1}, {"port": 2})
SIGNED = Approved(approved(CHANGE, "anna", "ben"), ("anna", "ben"))
STAYS = replace(CHANGE, kind=Kind.CONFIRM, base=Version(1, 2), before=CHANGE.after)
CONFIRMED = Approved(approved(STAYS, "anna", "ben"), ("anna", "ben"))


async def signed(ledger: Ledger, within_s: float | None = None) -> Entry:
    """Generation 1.2, which two people signed."""
    await commit(ledger, 1, None)
    return await ledger.commit(
        "firewall", {"port": 2}, seen=BASE, basis={}, note="", author="root", within_s=within_s, approved=SIGNED
    )


async def test_what_people_signed_is_kept_with_who_they_were(path: Path) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        entry = await signed(ledger)
    async with Ledger.open(path, CLOCK) as ledger:
        assert await ledger.history("firewall") == (entry, (await ledger.history("firewall"))[1])
        assert await ledger.desired("firewall") == entry
    assert (entry.approved, entry.confirmed) == (SIGNED, None)
    assert entry.to_json()["signers"] == ["anna", "ben"]
    assert entry.refusal(FIREWALL, given="") == ""


async def test_a_confirmation_is_kept_beside_what_it_confirms(ledger: Ledger) -> None:
    await signed(ledger, within_s=30)
    assert (await ledger.ask_to_confirm("firewall", CONFIRMED)).confirmed == CONFIRMED
    entry = await ledger.confirmed("firewall", Version(1, 2))
    assert entry is not None
    assert (entry.approved, entry.confirmed) == (SIGNED, CONFIRMED)
    assert entry.to_json()["confirmed-by"] == ["anna", "ben"]


async def test_a_confirmation_of_another_generation_than_the_one_on_trial_is_refused(ledger: Ledger) -> None:
    first = await commit(ledger, 1, None)
    second = await commit(ledger, 3, first.version)
    await ledger.commit("firewall", {"port": 2}, seen=second.version, basis={}, note="", author="", within_s=30)
    with pytest.raises(StaleGeneration) as refused:
        await ledger.ask_to_confirm("firewall", CONFIRMED)
    assert refused.value.message == (
        "a confirmation of firewall must be of what is on trial, generation 1.3, not of 1.2"
    )
    assert (await ledger.desired("firewall")).confirmed is None


async def test_what_follows_a_generation_that_went_back_carries_what_was_signed_for_its_body(ledger: Ledger) -> None:
    entry = await signed(ledger)
    await ledger.commit("firewall", {"port": 3}, seen=entry.version, basis={}, note="", author="root", within_s=30)
    back = await ledger.gone_back("firewall", "it was late")
    assert back is not None
    assert (back.version, back.body, back.approved) == (Version(1, 4), {"port": 2}, SIGNED)
    await ledger.begin_epoch()
    desired = await ledger.desired("firewall")
    assert (desired.version, desired.approved) == (Version(2, 4), SIGNED)
    assert desired.refusal(FIREWALL, given="") == ""


async def test_what_nobody_signed_is_refused_unless_the_documents_say_it(ledger: Ledger) -> None:
    entry = await commit(ledger, 1, None)
    assert entry.refusal(None, given="") == ""
    assert entry.refusal(FIREWALL, given=entry.digest) == ""
    assert entry.refusal(FIREWALL, given="") == (
        "a change to generation 1.1 of firewall must be signed by 2 of anna, ben, and is signed by nobody"
    )


async def test_an_approval_that_was_altered_is_refused(path: Path) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        await signed(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("""UPDATE approval SET signed = replace(signed, '"epoch":1', '"epoch":0')""")
    async with Ledger.open(path, CLOCK) as ledger:
        with pytest.raises(LedgerDamaged, match=r"must be whole: what people signed is no longer what they signed: "):
            await ledger.desired("firewall")


@pytest.mark.parametrize(("schema", "younger"), [(1, ("approval", "trial")), (2, ("approval",))])
async def test_an_older_ledger_gets_what_it_lacks_and_keeps_what_it_has(
    path: Path, schema: int, younger: tuple[str, ...]
) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        entry = await commit(ledger, 1, None)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for table in younger:
            file.execute(f"DROP TABLE {table}")
        file.execute(f"PRAGMA user_version = {schema}")
    async with Ledger.open(path, CLOCK) as ledger:
        assert await ledger.desired("firewall") == entry
        await ledger.commit(
            "firewall", {"port": 2}, seen=BASE, basis={}, note="", author="", within_s=9, approved=SIGNED
        )
        assert (await ledger.desired("firewall")).approved == SIGNED
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (3,)


async def test_a_ledger_of_a_later_schema_is_refused(path: Path) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        await commit(ledger, 1, None)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA user_version = 4")
    with pytest.raises(LedgerDamaged, match=r"it is no ledger of schema 3 \(schema 4, application 0x76616677\)$"):
        async with Ledger.open(path, CLOCK):
            pytest.fail("it must not be opened")


async def test_the_file_is_its_owners_alone(ledger: Ledger, path: Path) -> None:
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize("offset", [0, 18, 40, 100, 101, 108, 4090, 4096, 8192])
async def test_a_damaged_file_is_refused(path: Path, offset: int) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        for number in range(40):
            await commit(ledger, number, Version(1, number) if number else None)
    damage(path, offset)
    with pytest.raises(LedgerDamaged, match=r"^the ledger .*ledger\.sqlite must be whole: "):
        async with Ledger.open(path, CLOCK):
            pytest.fail("it must not be opened")


async def test_a_file_that_is_no_ledger_is_refused(path: Path) -> None:
    write_prose(path)
    with pytest.raises(LedgerDamaged, match=r"must be whole: file is not a database$"):
        async with Ledger.open(path, CLOCK):
            pytest.fail("it must not be opened")


async def test_a_body_that_is_not_the_one_that_was_committed_is_refused(path: Path) -> None:
    async with Ledger.open(path, CLOCK) as ledger:
        await commit(ledger, 1, None)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("""UPDATE desired SET body = '{"port":2}'""")
    async with Ledger.open(path, CLOCK) as ledger:
        with pytest.raises(LedgerDamaged, match=r"must be whole: generation 1\.1 of firewall has another body than"):
            await ledger.desired("firewall")

"""What a guest's agent is given at each boot: what was allowed, and the people whose signatures it is to ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.control.parts import AGENT_KEY, BOTH, CONTROLLER_KEY, approved, statement
from vafw.clock import ManualClock
from vafw.control.access import Access
from vafw.control.agent import Identity, Outcome, Report
from vafw.control.entry import Approved, Entry
from vafw.control.envelope import Version
from vafw.control.ledger import Ledger
from vafw.supervisor.guest_agents import GuestAgent
from vafw.trace import Value

ONE: dict[str, Value] = {"port": 1}
TWO: dict[str, Value] = {"port": 2}
FIRST, SECOND = Version(1, 1), Version(1, 2)
IDENTITY = Identity("lab", "firewall", AGENT_KEY, CONTROLLER_KEY.public_key(), BOTH)


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with Ledger.open(tmp_path / "ledger", ManualClock()) as opened:
        yield opened


async def committed(ledger: Ledger, approval: Approved | None) -> tuple[GuestAgent, Entry]:
    """An agent that began with generation 1.1 and says that it runs 1.2, which is committed."""
    first = await ledger.commit("firewall", ONE, seen=None, basis={}, note="", author="")
    second = await ledger.commit("firewall", TWO, seen=FIRST, basis={}, note="", author="", approved=approval)
    guest = GuestAgent(IDENTITY, Access("firewall"), first, ledger=ledger, broker=("127.0.0.1", 1))
    guest.heard(Report(Outcome.APPLIED, "", SECOND, SECOND, second.digest))
    return guest, second


async def test_a_guest_boots_with_what_people_signed_and_with_the_people(ledger: Ledger) -> None:
    signed = Approved(approved(statement(FIRST, ONE, TWO), "anna", "ben"), ("anna", "ben"))
    guest, second = await committed(ledger, signed)
    mandate = await guest.mandate()
    assert mandate.config == TWO
    assert (mandate.agent["version"], mandate.agent["digest"]) == (SECOND.to_json(), second.digest)
    assert mandate.agent["authority"] == BOTH.to_json()


async def test_a_guest_does_not_boot_with_what_people_did_not_sign_whatever_it_says(ledger: Ledger) -> None:
    guest, _ = await committed(ledger, None)
    assert (await guest.mandate()).config == ONE
